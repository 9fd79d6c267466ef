import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { ioError } from './file-access.js';

/** Node refuses a single write of 2 GiB or more. */
const MAX_WRITE_BYTES = 1 << 30;

/** Appends bytes to the file being written; they may be reused once it resolves. */
export type Append = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes a file that appears under its name only when it is complete: `write` fills a temporary file beside it, which is synced and renamed, or removed if anything fails.
 * A file of that name is replaced.
 *
 * @throws `IO` when the folder or the disk refuses; errors of `write` pass through.
 */
export async function writeAtomically(
  op: string,
  path: string,
  write: (append: Append) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.partial`;
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

async function append(op: string, handle: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, MAX_WRITE_BYTES);
    const { bytesWritten } = await handle.write(bytes, done, length).catch((cause: unknown) => {
      throw ioError(op, 'room for the file', path, cause);
    });
    done += bytesWritten;
  }
}
