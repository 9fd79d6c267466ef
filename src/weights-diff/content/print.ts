/** Samples of a tensor's elements that tell it from others, as it lies and with its last two axes swapped. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { tensorValues } from '../tensor-values.js';
import { type Change, undone } from './change.js';
import { countOf, matrixOf } from './raw-weights.js';

/** A tensor and samples of it. */
export interface Print {
  tensor: TensorInfo;
  count: number;
  /** Elements at {@link places}, row-major. */
  flat: Float32Array;
  /** The same with the last two axes swapped; undefined for one row or column. */
  turned: Float32Array | undefined;
  /** Set where nothing tells the tensor from others: all elements are this one. */
  constant: number | undefined;
}

/** Chunks of neighbouring elements that are sampled, from the first to the last. */
const CHUNKS = 16;
const CHUNK = 32;

/** Reads a tensor whole and keeps samples. */
export async function printOf(tensor: TensorInfo): Promise<Print> {
  const count = countOf(tensor.shape);
  const values = await tensorValues(tensor, 0, count);
  const { rows, columns } = matrixOf(tensor.shape);
  const at = places(count);
  const flat = Float32Array.from(at, (place) => values[place]!);
  const isMatrix = rows > 1 && columns > 1;
  const turned = isMatrix
    ? Float32Array.from(at, (place) => {
        const [row, column] = [place % rows, Math.floor(place / rows) % columns];
        return values[Math.floor(place / (rows * columns)) * rows * columns + row * columns + column]!;
      })
    : undefined;
  const [first] = values as unknown as [number];
  const constant = values.every((value) => value === first) ? first : undefined;
  return { tensor, count, flat, turned, constant };
}

/** Where a tensor of `count` elements is sampled. */
function places(count: number): number[] {
  if (count <= CHUNKS * CHUNK) return Array.from({ length: count }, (_, k) => k);
  return Array.from({ length: CHUNKS * CHUNK }, (_, k) => {
    const start = Math.floor((Math.floor(k / CHUNK) * (count - CHUNK)) / (CHUNKS - 1));
    return start + (k % CHUNK);
  });
}

/** Squared differences of samples over the reference's variance; infinite where it does not vary. */
export function printDistance(reference: Float32Array, tested: Float32Array, change: Change): number {
  let [error, sum, squares] = [0, 0, 0];
  for (let k = 0; k < reference.length; k++) {
    const x = reference[k]!;
    const y = undone(change, tested[k]!);
    error += (x - y) * (x - y);
    sum += x;
    squares += x * x;
  }
  const power = squares - (sum * sum) / reference.length;
  return power > 0 && Number.isFinite(error) ? error / power : Number.POSITIVE_INFINITY;
}
