/**
 * A dense array in double precision: what the reference implementations work on. Axes slowest first, last
 * axis fastest in `data`.
 */
export interface NdArray {
  shape: readonly number[];
  data: Float64Array;
}

/** Every index tuple of a shape, last axis fastest. */
export function* indices(shape: readonly number[]): Generator<number[]> {
  const index = new Array<number>(shape.length).fill(0);
  for (;;) {
    yield [...index];
    let axis = shape.length - 1;
    while (axis >= 0 && ++index[axis]! === shape[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

/** Position of an index tuple in the dense data of a shape. */
export function positionOf(shape: readonly number[], index: readonly number[]): number {
  return index.reduce((position, entry, axis) => position * shape[axis]! + entry, 0);
}

/** The element at an index tuple. */
export function at(array: NdArray, index: readonly number[]): number {
  return array.data[positionOf(array.shape, index)]!;
}

/** An array whose elements are a function of their index tuple. */
export function build(shape: readonly number[], element: (index: number[]) => number): NdArray {
  return { shape, data: Float64Array.from(indices(shape), element) };
}

/** An array with a function applied to every element. */
export function map(array: NdArray, change: (value: number) => number): NdArray {
  return { shape: array.shape, data: array.data.map(change) };
}

/** Each row (last axis) replaced by what a function makes of it; all results have the same length. */
export function mapRows(array: NdArray, change: (row: Float64Array) => ArrayLike<number>): NdArray {
  const width = array.shape[array.shape.length - 1]!;
  const rows: number[][] = [];
  for (let start = 0; start < array.data.length; start += width)
    rows.push(Array.from(change(array.data.subarray(start, start + width))));
  return { shape: [...array.shape.slice(0, -1), rows[0]!.length], data: Float64Array.from(rows.flat()) };
}
