/**
 * Which process wrote a file, so that what a killed one left behind can be told from what another is still
 * writing.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, on one of the hosts that may share a folder. */
export interface ProcessIdentity {
  pid: number;
  /**
   * When it started, as the system counts: on Linux clock ticks since boot (field 22 of /proc/PID/stat). A
   * recycled pid has another. Null where unknown.
   */
  start: string | null;
  host: string;
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  own ??= { pid: process.pid, start: processStart(process.pid), host: hostname() };
  return own;
}

let own: ProcessIdentity | undefined;

/** True if the process has ended. Of one on another host nothing can be known: false. */
export function isGone({ pid, start, host }: ProcessIdentity): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A process of another user cannot be signalled, but it is there.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true;
  }
  const now = processStart(pid);
  return start !== null && now !== null && start !== now;
}

function processStart(pid: number): string | null {
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The second field, the program's name in brackets, may hold blanks and brackets; the fields after it
      // do not.
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
    }
    if (process.platform === 'darwin')
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || null;
  } catch {
    // Gone meanwhile, or hidden.
  }
  return null;
}
