import { describeValue } from '../describe-value.js';
import { sizeBytes } from '../dtype.js';
import { badArgument, type ZayascopeError } from '../errors.js';
import { type Append, writeAtomically } from './atomic-file.js';
import { isSafetensorsDtype, type SafetensorsDtype } from './safetensors.js';

const OP = 'writeSafetensors';

/** Dtypes that can be written; bytes and truth values are not weights, and only come from dumps. */
export type WrittenDtype = SafetensorsDtype | 'U8' | 'BOOL';

/** One tensor to write. */
export interface TensorSource {
  name: string;
  dtype: WrittenDtype;
  /** Axes in the reference's order (slowest first). */
  shape: readonly number[];
  /** Its little-endian, row-major bytes, in any number of pieces; read once, when its turn comes. */
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * Writes a safetensors file: data streams through, one chunk in memory at a time. The file appears under its
 * name only when it is complete (a temporary file beside it is renamed; on failure it is removed). Tensors of
 * wider elements come first, else in the order given, so that every tensor is aligned to its element size, as
 * the reference implementation does it.
 *
 * @param metadata strings for `__metadata__`; none by default.
 * @throws `BAD_ARGUMENT` for a duplicate name, a dtype that the format lacks, a malformed shape, or chunks
 * that do not add up to the tensor's size; `IO` when writing fails. Errors of the chunk iterators pass
 * through.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorSource[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  tensors.forEach(checkDtype);
  const ordered = [...tensors].sort((a, b) => elementBytes(b.dtype) - elementBytes(a.dtype));
  const header = encodeHeader(ordered, metadata, path);
  await writeAtomically(OP, path, async (append) => {
    await append(header);
    for (const tensor of ordered) await appendTensor(append, tensor);
  });
}

function isByte(dtype: WrittenDtype): dtype is 'U8' | 'BOOL' {
  return dtype === 'U8' || dtype === 'BOOL';
}

function elementBytes(dtype: WrittenDtype): number {
  return isByte(dtype) ? 1 : sizeBytes(dtype, 1);
}

function checkDtype(tensor: TensorSource): void {
  if (!isByte(tensor.dtype) && !isSafetensorsDtype(tensor.dtype))
    throw misuse('a dtype of the safetensors format', describeValue(tensor.dtype), tensor.name);
}

function dataBytes(tensor: TensorSource): number {
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  if (
    !tensor.shape.every((size) => Number.isSafeInteger(size) && size >= 0) ||
    !Number.isSafeInteger(elements * 8)
  )
    throw misuse('a shape of non-negative integers', describeValue(tensor.shape), tensor.name);
  return elements * elementBytes(tensor.dtype);
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
  // An object literal would reorder keys that look like integers; joining keeps the data's order and any
  // name.
  const members = [...entries].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

async function appendTensor(append: Append, tensor: TensorSource): Promise<void> {
  const expected = dataBytes(tensor);
  let written = 0;
  for await (const chunk of tensor.chunks) {
    written += chunk.length;
    if (written > expected) break;
    await append(chunk);
  }
  if (written !== expected)
    throw misuse(
      `chunks of ${expected} bytes in all`,
      `${written > expected ? 'more' : written}`,
      tensor.name,
    );
}

function misuse(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
