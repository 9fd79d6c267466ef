/** Elements of a tensor in memory with gaps: ggml's strides. */
import { blockElements, type TapDtype, tapBlockBytes } from '../../dump/dtypes.js';

/** Where a tensor lies in its memory. */
export interface Strided {
  dtype: TapDtype;
  /** Of its first element, in bytes. */
  offset: number;
  /** Sizes and strides in bytes, fastest axis first. */
  ne: readonly number[];
  nb: readonly number[];
}

/** Bytes from a tensor's first to its last. */
export function spanOf({ dtype, ne, nb }: Omit<Strided, 'offset'>): number {
  if (ne.includes(0)) return 0;
  const steps = ne.map((size, k) => (k === 0 ? size / blockElements(dtype) : size) - 1);
  return steps.reduce((sum, count, k) => sum + count * nb[k]!, tapBlockBytes(dtype));
}

/** Strides of a tensor without gaps, of elements of so many bytes. */
export function denseStrides(ne: readonly number[], itemBytes: number): [number, number, number, number] {
  return [itemBytes, itemBytes * ne[0]!, itemBytes * ne[0]! * ne[1]!, itemBytes * ne[0]! * ne[1]! * ne[2]!];
}

/**
 * Where the rows of axis 0 begin, in order.
 * @param rowOf the row at which one of axis 1 lies, where it is another (`SET_ROWS`).
 */
export function rowStarts(
  { offset, ne, nb }: Pick<Strided, 'offset' | 'ne' | 'nb'>,
  rowOf: (j: number, k: number, l: number) => number = (j) => j,
): number[] {
  const starts: number[] = [];
  for (let l = 0; l < ne[3]!; l++)
    for (let k = 0; k < ne[2]!; k++)
      for (let j = 0; j < ne[1]!; j++)
        starts.push(offset + l * nb[3]! + k * nb[2]! + rowOf(j, k, l) * nb[1]!);
  return starts;
}

/** The elements in order, without gaps. */
export function packed(memory: Uint8Array, at: Strided, starts = rowStarts(at)): Uint8Array {
  const out = new Uint8Array(starts.length * rowBytes(at));
  eachPiece(at, starts, (place, to, size) => out.set(memory.subarray(place, place + size), to));
  return out;
}

/** The reverse: puts elements where they belong. */
export function unpack(memory: Uint8Array, at: Strided, bytes: Uint8Array, starts = rowStarts(at)): void {
  eachPiece(at, starts, (place, from, size) => memory.set(bytes.subarray(from, from + size), place));
}

function rowBytes({ dtype, ne }: Strided): number {
  return (ne[0]! / blockElements(dtype)) * tapBlockBytes(dtype);
}

/** Calls for each run of bytes that lie together: whole rows, or single elements. */
function eachPiece(
  at: Strided,
  starts: readonly number[],
  each: (inMemory: number, packed: number, size: number) => void,
): void {
  const item = tapBlockBytes(at.dtype);
  const size = rowBytes(at);
  let place = 0;
  for (const start of starts) {
    if (at.nb[0] === item) each(start, place, size);
    else for (let i = 0; i < size / item; i++) each(start + i * at.nb[0]!, place + i * item, item);
    place += size;
  }
}
