import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isGone, ownIdentity } from '../process-identity.js';
import { fileKind } from '../regular-file.js';
import { ioError, readInto, withFile } from './file-access.js';

/** Node refuses a single write of 2 GiB or more. */
const MAX_WRITE_BYTES = 1 << 30;
const SNIFFED_BYTES = 4096;

/** Appends bytes to the file being written; they may be reused once it resolves. */
export type Append = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes a file that appears under its name only when it is complete: `write` fills a temporary file beside
 * it, which is synced and renamed, or removed if anything fails. A file of that name is replaced (of a link
 * the file that it leads to), anything else is refused, and what killed processes left beside it is removed.
 *
 * @throws `IO` where something that is no file has the name, when the folder or the disk refuses; errors of
 * `write` pass through.
 */
export async function writeAtomically(
  op: string,
  file: string,
  write: (append: Append) => Promise<void>,
): Promise<void> {
  const path = await targetOf(op, file);
  await removeLeftovers(path);
  const temporary = temporaryPath(path);
  const handle = await open(temporary, 'wx').catch((cause: unknown) => {
    throw ioError(op, 'a writable folder', path, cause);
  });
  try {
    try {
      await write((bytes) => append(op, handle, bytes, path));
      await handle.sync().catch((cause: unknown) => {
        throw ioError(op, 'room for the file', path, cause);
      });
    } finally {
      await handle.close();
    }
    await rename(temporary, path).catch((cause: unknown) => {
      throw ioError(op, 'a replaceable file', path, cause);
    });
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Writes a text as {@link writeAtomically} does. */
export function writeTextAtomically(op: string, file: string, text: string): Promise<void> {
  return writeAtomically(op, file, (append) => append(Buffer.from(text)));
}

/**
 * Refuses a place that cannot be written before work is done for it: something that is no file, or a file
 * whose start is not of the kind that may be replaced (a mistyped name must not cost a model).
 *
 * @param isOwn tells by its first 4 KiB what may be replaced. @param kind what that is, in words.
 * @throws `IO`.
 */
export async function checkReplaceable(
  op: string,
  file: string,
  kind: string,
  isOwn: (start: Uint8Array) => boolean,
): Promise<void> {
  const path = await targetOf(op, file);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.size === 0) return;
  const start = new Uint8Array(Math.min(found.size, SNIFFED_BYTES));
  await withFile(op, path, (handle) => readInto(op, handle, path, 0, start));
  if (!isOwn(start)) throw ioError(op, `a new file, or ${kind} to replace`, path, 'another file');
}

/** Renaming would put a file in the place of a pipe, a device or a link. */
async function targetOf(op: string, path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) return path; // nothing yet, or what opening the file beside it says better
  if (!found.isFile()) throw ioError(op, 'a regular file, or none', path, fileKind(found));
  return realpath(path);
}

/** The temporary name says who writes it: `FILE.HOST-PID-START.RANDOM.partial`. */
function temporaryPath(path: string): string {
  const { pid, start } = ownIdentity();
  return `${path}.${hostTag()}-${pid}-${(start ?? '').replace(/\W/g, '')}.${randomUUID().slice(0, 8)}.partial`;
}

function hostTag(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}

/** The process of this host that writes a temporary file has ended. False for names of any other kind. */
export function isLeftover(name: string): boolean {
  const [, host, pid, start] = /\.([0-9a-f]{8})-(\d+)-(\w*)\.[0-9a-f]{8}\.partial$/.exec(name) ?? [];
  if (host !== hostTag()) return false;
  const identity = { pid: Number(pid), start: start === '' ? null : start!, host: hostname() };
  // Letters were dropped from the start time of systems that spell it as a date: there only the pid is
  // compared.
  return isGone({ ...identity, start: process.platform === 'linux' ? identity.start : null });
}

/** Removes what killed processes left of earlier writes of this file. */
async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  const own = `${basename(path)}.`;
  for (const name of await readdir(folder).catch(() => []))
    if (name.startsWith(own) && isLeftover(name))
      await rm(join(folder, name), { force: true }).catch(() => {});
}

async function append(op: string, handle: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, MAX_WRITE_BYTES);
    const { bytesWritten } = await handle.write(bytes, done, length).catch((cause: unknown) => {
      throw ioError(op, 'room for the file', path, cause);
    });
    done += bytesWritten;
  }
}
