/** The first elements of every row of many tensors, to find a row among them. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { tensorValues } from '../tensor-values.js';
import { countOf, matrixOf } from './raw-weights.js';

/** Elements of a row that stand for it. */
const PREFIX = 64;
/** Rows shorter than this do not tell themselves from others. */
const LEAST_COLUMNS = 8;
/** Rows of one index; more would take gigabytes. */
export const MOST_ROWS = 2_000_000;

/** Rows of one tensor. */
export interface TensorRows {
  tensor: TensorInfo;
  rows: number;
  /** Elements of a row that are kept. */
  width: number;
  data: Float32Array;
}

/** Rows of a tensor, or its columns where it is turned; undefined where they are too short. */
export async function rowsOf(tensor: TensorInfo, turned: boolean): Promise<TensorRows | undefined> {
  const { stack, rows, columns } = matrixOf(tensor.shape);
  const [count, length] = turned ? [stack * columns, rows] : [stack * rows, columns];
  if (length < LEAST_COLUMNS || count < 2) return undefined;
  const width = Math.min(length, PREFIX);
  const values = await tensorValues(tensor, 0, countOf(tensor.shape));
  const data = new Float32Array(count * width);
  for (let row = 0; row < count; row++)
    for (let k = 0; k < width; k++)
      data[row * width + k] = turned
        ? values[Math.floor(row / columns) * rows * columns + k * columns + (row % columns)]!
        : values[row * columns + k]!;
  return { tensor, rows: count, width, data };
}

/** Length of the rows of a tensor, and how many there are. */
export function rowSizes(tensor: TensorInfo, turned: boolean): { length: number; count: number } {
  const { stack, rows, columns } = matrixOf(tensor.shape);
  return turned ? { length: rows, count: stack * columns } : { length: columns, count: stack * rows };
}

/** Squared differences of two rows over the power of the second; 0 where both are zeros. */
export function rowDistance(a: TensorRows, rowA: number, b: TensorRows, rowB: number): number {
  let [error, power] = [0, 0];
  const { width } = b;
  for (let k = 0; k < width; k++) {
    const y = b.data[rowB * width + k]!;
    const difference = a.data[rowA * width + k]! - y;
    error += difference * difference;
    power += y * y;
  }
  return error === 0 ? 0 : error / power;
}

/** Whether all elements that are kept of a row are the same. */
export function isFlatRow({ data, width }: TensorRows, row: number): boolean {
  const first = data[row * width]!;
  for (let k = 1; k < width; k++) if (data[row * width + k] !== first) return false;
  return true;
}

/** A row that was found. */
export interface FoundRow {
  tensor: number;
  row: number;
  error: number;
  /** Of the next row that is another. */
  next: number;
}

/** The nearest of all rows of `tensors` to one row; undefined where there are none. */
export function nearestRow(
  tensors: readonly TensorRows[],
  tested: TensorRows,
  at: number,
): FoundRow | undefined {
  const { width } = tested;
  const own = tested.data.subarray(at * width, (at + 1) * width);
  const power = own.reduce((sum, value) => sum + value * value, 0);
  let best: FoundRow = {
    tensor: -1,
    row: -1,
    error: Number.POSITIVE_INFINITY,
    next: Number.POSITIVE_INFINITY,
  };
  for (const [tensor, { data, rows }] of tensors.entries())
    for (let row = 0; row < rows; row++) {
      let error = 0;
      const start = row * width;
      // What is farther than the second nearest is of no interest: after eight elements that is plain.
      for (let k = 0; k < width; k++) {
        if (k === 8 && error > best.next * power) break;
        const difference = data[start + k]! - own[k]!;
        error += difference * difference;
      }
      error /= power;
      if (error < best.error) best = { tensor, row, error, next: best.error };
      else if (error < best.next) best.next = error;
    }
  return best.tensor < 0 ? undefined : best;
}
