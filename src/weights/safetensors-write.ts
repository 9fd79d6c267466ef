import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { sizeBytes } from '../dtype.js';
import { ZayascopeError } from '../errors.js';
import { describeValue } from './describe-value.js';
import { ioError } from './file-access.js';
import { isSafetensorsDtype, type SafetensorsDtype } from './safetensors.js';

const OP = 'writeSafetensors';

/** Node refuses a single write of 2 GiB or more. */
const MAX_WRITE_BYTES = 1 << 30;

/** One tensor to write. */
export interface TensorSource {
  name: string;
  dtype: SafetensorsDtype;
  /** Axes in the reference's order (slowest first). */
  shape: readonly number[];
  /** Its little-endian, row-major bytes, in any number of pieces; read once, when its turn comes. */
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * Writes a safetensors file: data streams through, one chunk in memory at a time. The file appears under its name only when it is complete
 * (a temporary file beside it is renamed; on failure it is removed). Tensors of wider elements come first, else in the order given, so
 * that every tensor is aligned to its element size, as the reference implementation does it.
 *
 * @param metadata strings for `__metadata__`; none by default.
 * @throws `BAD_ARGUMENT` for a duplicate name, a dtype that the format lacks, a malformed shape, or chunks that do not add up to the
 * tensor's size; `IO` when writing fails. Errors of the chunk iterators pass through.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorSource[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  tensors.forEach(checkDtype);
  const ordered = [...tensors].sort((a, b) => sizeBytes(b.dtype, 1) - sizeBytes(a.dtype, 1));
  const header = encodeHeader(ordered, metadata, path);
  const temporary = `${path}.${randomUUID()}.partial`;
  const handle = await open(temporary, 'wx').catch((cause: unknown) => {
    throw ioError(OP, 'a writable folder', path, cause);
  });
  try {
    try {
      await append(handle, header, path);
      for (const tensor of ordered) await appendTensor(handle, tensor, path);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path).catch((cause: unknown) => {
      throw ioError(OP, 'a replaceable file', path, cause);
    });
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function checkDtype(tensor: TensorSource): void {
  if (!isSafetensorsDtype(tensor.dtype))
    throw misuse('a dtype of the safetensors format', describeValue(tensor.dtype), tensor.name);
}

function dataBytes(tensor: TensorSource): number {
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  if (
    !tensor.shape.every((size) => Number.isSafeInteger(size) && size >= 0) ||
    !Number.isSafeInteger(elements * 8)
  )
    throw misuse('a shape of non-negative integers', describeValue(tensor.shape), tensor.name);
  return sizeBytes(tensor.dtype, elements);
}

function encodeHeader(
  tensors: readonly TensorSource[],
  metadata: ReadonlyMap<string, string>,
  path: string,
): Uint8Array {
  const entries = new Map<string, unknown>();
  if (metadata.size > 0) entries.set('__metadata__', Object.fromEntries(metadata));
  let end = 0;
  for (const tensor of tensors) {
    if (entries.has(tensor.name) || tensor.name === '__metadata__')
      throw misuse('a name that is free', describeValue(tensor.name), path);
    const begin = end;
    end += dataBytes(tensor);
    entries.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  // An object literal would reorder keys that look like integers; joining keeps the data's order and any name.
  const members = [...entries].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

async function appendTensor(handle: FileHandle, tensor: TensorSource, path: string): Promise<void> {
  const expected = dataBytes(tensor);
  let written = 0;
  for await (const chunk of tensor.chunks) {
    written += chunk.length;
    if (written > expected) break;
    await append(handle, chunk, path);
  }
  if (written !== expected)
    throw misuse(
      `chunks of ${expected} bytes in all`,
      `${written > expected ? 'more' : written}`,
      tensor.name,
    );
}

async function append(handle: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, MAX_WRITE_BYTES);
    const { bytesWritten } = await handle.write(bytes, done, length).catch((cause: unknown) => {
      throw ioError(OP, 'room for the file', path, cause);
    });
    done += bytesWritten;
  }
}

function misuse(expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `${OP}: expected ${expected}, got ${got} (${where})`, {
    op: OP,
    tensor: where,
  });
}
