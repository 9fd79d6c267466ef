/**
 * Where a flat element stands in an array of a shape.
 * @param shape slowest axis first. @returns the index, slowest axis first, and how many whole arrays of the
 * shape lie before it: its row, of a batch of rows of the shape.
 */
export function elementIndex(flat: number, shape: readonly number[]): { index: number[]; row: number } {
  const index: number[] = [];
  let row = flat;
  for (const size of [...shape].reverse()) {
    index.unshift(row % size);
    row = Math.floor(row / size);
  }
  return { index, row };
}
