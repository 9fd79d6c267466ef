/** All elements of a paired tensor against what the reference says they must be. */
import { MetricSums, type TensorMetrics } from '../../diff/metrics.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import { CHUNK_ELEMENTS, tensorValues } from '../tensor-values.js';
import { done } from './change.js';
import { rowOf, type WeightPair } from './pairing.js';
import { countOf, matrixOf } from './raw-weights.js';

/**
 * Metrics of the tested tensor, the reference's values brought into its layout. Streams where the tensor is
 * the reference's as it is; else both are held whole.
 */
export async function comparePair(pair: WeightPair, allowNaN: boolean): Promise<TensorMetrics> {
  const { tested, segments, turned, change } = pair;
  const sums = new MetricSums({ allowNaN });
  const count = countOf(tested.shape);
  const [only] = segments as [WeightPair['segments'][0]];
  const isPlain =
    segments.length === 1 && turned === 'none' && only.order.kind === 'same' && only.first === 0;
  if (isPlain && countOf(only.reference.shape) === count) {
    for (let begin = 0; begin < count; begin += CHUNK_ELEMENTS) {
      const end = Math.min(begin + CHUNK_ELEMENTS, count);
      const [a, b] = await Promise.all([
        tensorValues(only.reference, begin, end),
        tensorValues(tested, begin, end),
      ]);
      sums.add(done(change, a), b);
    }
    return sums.metrics();
  }
  sums.add(done(change, await expected(pair)), await tensorValues(tested, 0, count));
  return sums.metrics();
}

/** The reference's elements where the tested tensor should have them. */
async function expected({ tested, segments, turned }: WeightPair): Promise<Float32Array> {
  const out = new Float32Array(countOf(tested.shape));
  const { rows, columns } = matrixOf(tested.shape);
  const width = turned === 'tested' ? rows : columns;
  let [at, known, values] = [0, undefined as TensorInfo | undefined, new Float32Array()];
  for (const { reference, first, count, order } of segments) {
    if (reference !== known) {
      values = (await wholeRows(reference, turned === 'reference')) as typeof values;
      known = reference;
    }
    for (let k = 0; k < count; k++, at++) {
      const from = (first + rowOf(order, k)) * width;
      if (turned !== 'tested') out.set(values.subarray(from, from + width), at * width);
      else {
        const start = Math.floor(at / columns) * rows * columns + (at % columns);
        for (let row = 0; row < rows; row++) out[start + row * columns] = values[from + row]!;
      }
    }
  }
  return out;
}

/** All values of a tensor, the last two axes swapped where it is turned. */
async function wholeRows(tensor: TensorInfo, turned: boolean): Promise<Float32Array> {
  const values = await tensorValues(tensor, 0, countOf(tensor.shape));
  if (!turned) return values;
  const { rows, columns } = matrixOf(tensor.shape);
  const size = rows * columns;
  const out = new Float32Array(values.length);
  for (let start = 0; start < out.length; start += size)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        out[start + column * rows + row] = values[start + row * columns + column]!;
  return out;
}
