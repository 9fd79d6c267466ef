/**
 * Opening files that other people name: only regular files are read, and opening anything else never waits.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { utf8Text } from './utf8.js';

/**
 * Opens a regular file for reading. A pipe, a device, a folder or a socket is refused at once: reading a pipe
 * that nobody writes to would wait for ever, and a device may never end. Throws an `Error` whose message says
 * what is there; callers wrap it with what they were doing.
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(
    (cause: unknown) => {
      throw explained(cause as NodeJS.ErrnoException);
    },
  );
  try {
    const found = await handle.stat();
    if (found.isFile()) return handle;
    throw new Error(`${fileKind(found)} in place of a regular file`);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** What lies at a path, in words. */
export function fileKind(found: Stats): string {
  if (found.isFile()) return 'a file';
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe';
  return found.isCharacterDevice() || found.isBlockDevice() ? 'a device' : 'a special file';
}

/** Reads a regular file whole. Throws as {@link openRegularFile}. */
export async function readRegularFile(path: string): Promise<Buffer> {
  const handle = await openRegularFile(path);
  return handle.readFile().finally(() => handle.close());
}

/** Reads a regular file of UTF-8 text whole. Throws as {@link openRegularFile}, and for other bytes. */
export async function readRegularText(path: string): Promise<string> {
  const text = utf8Text(await readRegularFile(path));
  if (text === undefined) throw new Error('bytes that are not UTF-8');
  return text;
}

/** A system error, with a sentence where its own words would not help; code and system call stay. */
export function explained(cause: NodeJS.ErrnoException): Error {
  const { code } = cause;
  if (code === 'EMFILE' || code === 'ENFILE')
    cause.message = `${code}: the ${code === 'EMFILE' ? 'process' : 'system'} has as many files open as it may; raise the limit (ulimit -n) or open fewer at once`;
  if (code === 'ENOENT') cause.message = 'nothing';
  if (code === 'EISDIR') cause.message = 'a folder';
  if (code === 'EACCES') cause.message = 'a place without permission';
  if (code === 'EEXIST') cause.message = 'a file in place of a folder';
  if (code === 'ENOTDIR')
    cause.message = cause.syscall === 'scandir' ? 'a file in place of a folder' : 'a path through a file';
  if (code === 'ENXIO')
    cause.message = `${code}: a socket or a device that is not there in place of a regular file`;
  return cause;
}

/** True if something is there, of whatever kind, and can be looked at. */
export function pathExists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
