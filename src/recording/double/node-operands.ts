/** What a node reads and is told, in double precision. */

/** A tensor's elements in ggml's order (the fastest axis first), without gaps. */
export interface Operand {
  data: ArrayLike<number>;
  ne: readonly number[];
}

/** One node. */
export interface DoubleNode {
  /** Undefined for an empty place. */
  src: readonly (Operand | undefined)[];
  /** Sizes of what it gives. */
  ne: readonly number[];
  params: Params;
}

/** `op_params`: 16 words, each an I32 or an F32. */
export class Params {
  readonly #bytes: DataView;

  /** @param hex as a graph file has it, zero bytes at its end cut. */
  constructor(hex: string) {
    const bytes = Uint8Array.from(Buffer.from(hex.padEnd(128, '0'), 'hex'));
    this.#bytes = new DataView(bytes.buffer);
  }

  int(word: number): number {
    return this.#bytes.getInt32(4 * word, true);
  }

  float(word: number): number {
    return this.#bytes.getFloat32(4 * word, true);
  }
}

/** The place of an element; axes of another size are repeated. */
export function placeOf({ ne }: Operand, i: number, j: number, k: number, l: number): number {
  return (((l % ne[3]!) * ne[2]! + (k % ne[2]!)) * ne[1]! + (j % ne[1]!)) * ne[0]! + (i % ne[0]!);
}

/** Calls for each row of sizes: its axes 1 to 3, and where it begins. */
export function eachRow(
  ne: readonly number[],
  each: (j: number, k: number, l: number, start: number) => void,
): void {
  for (let l = 0, start = 0; l < ne[3]!; l++)
    for (let k = 0; k < ne[2]!; k++) for (let j = 0; j < ne[1]!; j++, start += ne[0]!) each(j, k, l, start);
}

export function count(ne: readonly number[]): number {
  return ne.reduce((product, size) => product * size, 1);
}

export function dot(
  a: ArrayLike<number>,
  aStart: number,
  b: ArrayLike<number>,
  bStart: number,
  size: number,
): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += a[aStart + i]! * b[bStart + i]!;
  return sum;
}
