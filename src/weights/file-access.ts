import { type FileHandle, stat } from 'node:fs/promises';
import { unmet, type ZayascopeError } from '../errors.js';
import { explained, fileKind, openRegularFile } from '../regular-file.js';

/** Node aborts on a single read of 2 GiB or more; 1 GiB keeps clear of it. */
const MAX_READ_BYTES = 1 << 30;

/** An `IO` error: operation, expectation, what the file system said, which file. */
export function ioError(op: string, expected: string, file: string, cause: unknown): ZayascopeError {
  const got = cause instanceof Error ? explained(cause).message : String(cause);
  return unmet('IO', op, expected, got, { where: file, tensor: file, cause });
}

/** Size in bytes of a regular file. Throws `IO` for anything else. */
export async function fileSizeBytes(op: string, file: string): Promise<number> {
  const found = await stat(file).catch((cause: unknown) => {
    throw ioError(op, 'a readable file', file, cause);
  });
  if (!found.isFile()) throw ioError(op, 'a regular file', file, fileKind(found));
  return found.size;
}

/** Opens a regular file for reading, hands it to `use`, closes it. Throws `IO` when it cannot be opened. */
export async function withFile<T>(
  op: string,
  file: string,
  use: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const handle = await openRegularFile(file).catch((cause: unknown) => {
    throw ioError(op, 'a readable file', file, cause);
  });
  try {
    return await use(handle);
  } finally {
    await handle.close();
  }
}

/**
 * Fills `out` from `offsetBytes` on, in reads of at most 1 GiB. Throws `IO` when the file is too short or the
 * read fails.
 */
export async function readInto(
  op: string,
  handle: FileHandle,
  file: string,
  offsetBytes: number,
  out: Uint8Array,
): Promise<void> {
  for (let done = 0; done < out.length; ) {
    const length = Math.min(out.length - done, MAX_READ_BYTES);
    const { bytesRead } = await handle.read(out, done, length, offsetBytes + done).catch((cause: unknown) => {
      throw ioError(op, 'a readable file', file, cause);
    });
    if (bytesRead === 0)
      throw ioError(
        op,
        `${out.length} bytes at offset ${offsetBytes}`,
        file,
        `only ${done}, the file ends there`,
      );
    done += bytesRead;
  }
}

/** The whole content of a file of at most `maxBytes`. Throws `IO` when it is larger or unreadable. */
export async function readSmallFile(op: string, file: string, maxBytes: number): Promise<Uint8Array> {
  const size = await fileSizeBytes(op, file);
  if (size > maxBytes) throw ioError(op, `a file of at most ${maxBytes} bytes`, file, `${size} bytes`);
  const bytes = new Uint8Array(size);
  await withFile(op, file, (handle) => readInto(op, handle, file, 0, bytes));
  return bytes;
}
