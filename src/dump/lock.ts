/** The lock of a dump's folder: a file beside it while something writes into it (`docs/dump-format.md`). */

import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { unmet, type ZayascopeError } from '../errors.js';
import { isGone, ownIdentity, type ProcessIdentity } from '../process-identity.js';
import { explained, readRegularText } from '../regular-file.js';

/** File systems without hard links. */
const NO_LINKS: readonly unknown[] = ['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP', 'EMLINK'];
/** How often a lock is tried that others take and leave meanwhile. */
const TRIES = 100;
/** A lock file is far smaller. */
const MAX_LOCK_BYTES = 4096;
const UUID_LENGTH = 36;

/** The lock file of a folder. */
export function lockPath(dir: string): string {
  return `${resolve(dir)}.lock`;
}

/** A lock that this process holds. */
export interface FolderLock {
  /** Removes the lock file. Idempotent. */
  release(): Promise<void>;
}

/**
 * Takes the lock of a folder, which need not exist yet. One that a killed process left on this host is
 * replaced.
 * @throws `IO` where another process holds it, naming that process and the file.
 */
export function lockFolder(dir: string): Promise<FolderLock> {
  return lockFile(lockPath(dir));
}

/** Who holds a lock file; undefined where there is none, null where it is no lock of this format. */
export async function lockHolder(path: string): Promise<ProcessIdentity | null | undefined> {
  const text = await readRegularText(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw lockError(path, 'a readable lock', cause.message, cause);
  });
  if (text === undefined) return undefined;
  try {
    const { pid, start, host } = JSON.parse(text.slice(0, MAX_LOCK_BYTES)) as ProcessIdentity;
    const isLock = Number.isSafeInteger(pid) && pid > 0 && typeof host === 'string';
    return isLock ? { pid, start: typeof start === 'string' ? start : null, host } : null;
  } catch {
    return null;
  }
}

async function lockFile(path: string): Promise<FolderLock> {
  await mkdir(dirname(path), { recursive: true }).catch((cause: Error) => {
    throw lockError(path, 'a folder for the lock', explained(cause).message, cause);
  });
  for (let tries = 0; tries < TRIES; tries++) {
    const lock = await tryLock(path);
    if (lock !== undefined) {
      await removeRemains(path);
      return lock;
    }
    const holder = await lockHolder(path);
    if (holder === undefined) continue;
    if (holder === null || !isGone(holder)) throw heldError(path, holder);
    await removeStale(path, holder);
  }
  throw lockError(path, 'to take the lock', `it taken and left ${TRIES} times by others`);
}

async function tryLock(path: string): Promise<FolderLock | undefined> {
  if (!(await create(path))) return undefined;
  let held = true;
  return {
    async release() {
      if (held) await rm(path, { force: true });
      held = false;
    },
  };
}

/**
 * Removes what a killed process left. Only who holds the lock's own lock does that, so that nobody removes
 * one that was taken since; others wait a moment and look again.
 */
async function removeStale(path: string, stale: ProcessIdentity): Promise<void> {
  const breakPath = `${path}.lock`;
  const breaking = await tryLock(breakPath);
  if (breaking === undefined) {
    const holder = await lockHolder(breakPath);
    if (holder !== undefined && holder !== null && isGone(holder)) await removeStale(breakPath, holder);
    await setTimeout(5);
    return;
  }
  try {
    const { pid, start } = (await lockHolder(path)) ?? {};
    if (pid === stale.pid && start === stale.start) await rm(path, { force: true });
  } finally {
    await breaking.release();
  }
}

/** Removes the temporary files of processes that were killed while they took this lock. */
async function removeRemains(path: string): Promise<void> {
  const start = `${basename(path)}.`;
  for (const name of await readdir(dirname(path)).catch(() => [])) {
    if (!name.startsWith(start) || name.length !== start.length + UUID_LENGTH) continue;
    const remains = join(dirname(path), name);
    const holder = await lockHolder(remains).catch(() => undefined);
    if (holder && isGone(holder)) await rm(remains, { force: true }).catch(() => {});
  }
}

/**
 * Creates the lock file with its content at once, by linking a finished one. @returns false where there is
 * one.
 */
async function create(path: string): Promise<boolean> {
  const text = `${JSON.stringify(ownIdentity())}\n`;
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, text, { flag: 'wx' });
    await link(temporary, path);
    return true;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!NO_LINKS.includes(code)) throw lockError(path, 'to create the lock', message, cause);
    return createInPlace(path, text);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
  }
}

async function createInPlace(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    await handle.writeFile(text).finally(() => handle.close());
    return true;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw lockError(path, 'to create the lock', message, cause);
  }
}

function heldError(path: string, holder: ProcessIdentity | null): ZayascopeError {
  const got =
    holder === null
      ? 'a file that is no lock of a dump'
      : `one that process ${holder.pid} on ${holder.host} is writing (remove the lock if that process has ended)`;
  return lockError(path, 'a folder that nothing else writes', got);
}

function lockError(path: string, expected: string, got: string, cause?: unknown): ZayascopeError {
  return unmet('IO', 'writeDump', expected, got, { where: path, tensor: path, cause });
}
