import { availableParallelism } from 'node:os';
import { blockBytes, blockSize, ggmlType } from '../dtype.js';
import { unmet, ZayascopeError } from '../errors.js';
import { elementCount } from '../graph/shape.js';
import { native } from '../native.js';
import type { TensorInfo } from './checkpoint.js';
import type { GgufTensorSpec } from './gguf-write.js';
import { readTensor } from './tensor-data.js';

const OP = 'convertTensor';

/**
 * Elements converted at a time, rounded down to whole rows: 26 MB of buffers for BF16, several of them in
 * flight.
 */
const CHUNK_ELEMENTS = 1 << 21;

/**
 * The bytes of a stored tensor (F32, F16 or BF16) in the dtype of `spec`, through ggml's quantiser, in
 * pieces, a few of which are made at once. Rows at the end that `spec` lacks are left out. Equal dtypes are
 * copied bit by bit.
 *
 * @param importance of each column, of each matrix in turn where there are three axes.
 * @param signal stops between pieces (`CANCELLED`).
 * @throws `BAD_CHECKPOINT` for values that are not finite, and for those that F16 cannot hold;
 * `BAD_ARGUMENT` or `BACKEND` from the quantiser for values that are too large; `IO`.
 */
export async function* convertTensor(
  spec: GgufTensorSpec,
  stored: TensorInfo,
  importance: Float32Array | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const ordered = stored.storedAxes === undefined ? undefined : await readTensor(stored);
  const ahead: Promise<Uint8Array>[] = [];
  const depth = Math.min(availableParallelism() + 1, 4); // one is being read or written while the others convert
  try {
    for (const chunk of chunksOf(spec, importance)) {
      if (signal?.aborted)
        throw new ZayascopeError('CANCELLED', `${OP}: cancelled at ${spec.name}`, { op: OP });
      const converted = convertChunk(spec, stored, chunk, ordered);
      converted.catch(() => {}); // awaited below; must not count as unhandled meanwhile
      ahead.push(converted);
      if (ahead.length === depth) yield await ahead.shift()!;
    }
    while (ahead.length > 0) yield await ahead.shift()!;
  } finally {
    await Promise.allSettled(ahead);
  }
}

interface Chunk {
  /** In elements. */
  begin: number;
  end: number;
  importance: Float32Array | null;
}

/** Chunks of whole rows that do not cross from one expert to the next, whose importance differs. */
function chunksOf({ shape }: GgufTensorSpec, importance: Float32Array | undefined): Chunk[] {
  const columns = shape.at(-1)!;
  const matrices = shape.length === 3 ? shape[0]! : 1;
  const perMatrix = elementCount(shape) / matrices;
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / columns)) * columns;
  const chunks: Chunk[] = [];
  for (let matrix = 0; matrix < matrices; matrix++) {
    const end = (matrix + 1) * perMatrix;
    const own = importance?.slice(matrix * columns, (matrix + 1) * columns) ?? null;
    for (let begin = matrix * perMatrix; begin < end; begin += step)
      chunks.push({ begin, end: Math.min(begin + step, end), importance: own });
  }
  return chunks;
}

async function convertChunk(
  { name, dtype, shape }: GgufTensorSpec,
  stored: TensorInfo,
  { begin, end, importance }: Chunk,
  ordered: Uint8Array | undefined,
): Promise<Uint8Array> {
  const perElement = blockBytes(stored.dtype) / blockSize(stored.dtype);
  const range = [begin * perElement, end * perElement] as const;
  const bytes = ordered?.subarray(...range) ?? (await readTensor(stored, ...range));
  if (stored.dtype === dtype) {
    checkBits(bytes, dtype, begin, name);
    return bytes;
  }
  const values = new Float32Array(end - begin);
  await native().dequantize(bytes, ggmlType(stored.dtype), end - begin, values);
  if (blockSize(dtype) === 1) checkFinite(values, begin, name);
  if (dtype === 'F32') return new Uint8Array(values.buffer);
  if (dtype === 'F16') checkHalfRange(values, begin, name);
  try {
    return await native().quantize(values, ggmlType(dtype), shape.at(-1)!, importance);
  } catch (cause) {
    // The quantiser knows no names; it looks at every value anyway, so that it is asked first.
    checkFinite(values, begin, name);
    throw cause;
  }
}

/** The same of values that are copied: all bits of the exponent set is NaN or an infinity. */
function checkBits(bytes: Uint8Array, dtype: string, begin: number, name: string): void {
  const mask = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 }[dtype];
  if (mask === undefined) return;
  const own = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const count = bytes.length / (dtype === 'F32' ? 4 : 2);
  const words =
    dtype === 'F32'
      ? new Uint32Array(own.buffer, own.byteOffset, count)
      : new Uint16Array(own.buffer, own.byteOffset, count);
  for (let at = 0; at < words.length; at++)
    if ((words[at]! & mask) === mask) throw notFinite('NaN or an infinity', begin + at, name);
}

/**
 * No model runs with them, and in a block of a quantised type, which has one scale, they take their
 * neighbours along.
 */
function checkFinite(values: Float32Array, begin: number, name: string): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw notFinite(String(values[at]), begin + at, name);
}

function notFinite(got: string, index: number, name: string): ZayascopeError {
  return unmet('BAD_CHECKPOINT', OP, 'finite values', `${got} at index ${index}`, {
    where: name,
    tensor: name,
  });
}

function checkHalfRange(values: Float32Array, begin: number, name: string): void {
  const MOST = 65_519.99; // the next value up rounds to infinity
  const at = values.findIndex((value) => Math.abs(value) > MOST && Number.isFinite(value));
  if (at >= 0)
    throw unmet(
      'BAD_CHECKPOINT',
      OP,
      'values that F16 can hold (below 65520)',
      `${values[at]} at index ${begin + at}`,
      { where: name, tensor: name, dtypes: ['F16'] },
    );
}
