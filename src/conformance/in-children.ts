import { runChild } from '../child-program.js';
import { type ErrorCode, unmet, ZayascopeError } from '../errors.js';
import type { CaseSelection } from './options.js';
import type { CaseOutcome } from './run-case.js';

/** What a child process is to do: cases `start` to `end` of a selection. */
export interface ChildJob {
  selection: CaseSelection;
  backend: string;
  strictF32: boolean;
  start: number;
  end: number;
}

/** The device that ran cases. */
export interface ConformanceDevice {
  /** ggml's device name. */
  name: string;
  description: string;
  /** True if F32 products are known to be of F32 operands. */
  strictF32: boolean;
  /** Environment variables that the device's library has read, by name. */
  environment: Readonly<Record<string, string>>;
}

/** What a child process says. */
export type ChildMessage =
  | { device: ConformanceDevice }
  | { index: number; outcome: CaseOutcome }
  | { error: { code: ErrorCode; message: string } };

/** Cases of one process. Few enough that a crash costs little, enough that starting costs little. */
const BATCH = 48;

/** A case that says nothing for so long hangs; compiling a kernel takes a software device a minute. */
const SILENCE_MS = 240_000;

/** What became of the cases, and of the processes. */
export interface ChildrenResult {
  device: ConformanceDevice;
  /** By position in the selection. */
  outcomes: CaseOutcome[];
  /**
   * Processes that were lost at a case which then ran in a fresh one: the device's trouble, but none of the
   * case's.
   */
  lostProcesses: number;
}

/**
 * Runs cases in child processes, a batch in each, one after the other. A process that dies is followed by a
 * fresh one that begins with the case at which it died; a case at which a fresh process dies at once is
 * `crashed`.
 *
 * @param onOutcome called with the number of cases done.
 * @param program what a child runs; default `child.js`.
 * @throws what a child reports, e.g. `BACKEND` for a device that is not there.
 */
export async function runInChildren(
  job: Omit<ChildJob, 'start' | 'end'>,
  count: number,
  onOutcome: (done: number) => void = () => {},
  program: URL = new URL('./child.js', import.meta.url),
): Promise<ChildrenResult> {
  const outcomes: CaseOutcome[] = [];
  let device: ConformanceDevice | undefined;
  let lostProcesses = 0;
  while (outcomes.length < count) {
    const start = outcomes.length;
    const batch = { ...job, start, end: Math.min(start + BATCH, count) };
    const onMessage = (message: ChildMessage): void => {
      if ('device' in message) device = message.device;
      if ('error' in message) throw new ZayascopeError(message.error.code, message.error.message);
      if (!('outcome' in message)) return;
      outcomes.push(message.outcome);
      onOutcome(outcomes.length);
    };
    const end = await runChild(program, batch, { silenceMs: SILENCE_MS, onMessage });
    if (outcomes.length === batch.end) continue;
    if (outcomes.length > start) lostProcesses++;
    else outcomes.push({ verdict: 'crashed', reason: `a process of its own ended with ${end}` });
  }
  if (device === undefined)
    throw unmet(
      'BACKEND',
      'conformance',
      'a device that runs a case',
      'processes that died before the first one ended',
      { where: job.backend },
    );
  return { device, outcomes, lostProcesses };
}
