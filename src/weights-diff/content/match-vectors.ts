/** Pairs biases whose elements are in the order in which the rows of their weights are. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { tensorValues } from '../tensor-values.js';
import { explainedBy } from './change.js';
import { rowOf, type Segment, type WeightPair } from './pairing.js';
import { type Print, printDistance } from './print.js';
import { countOf } from './raw-weights.js';

const WEIGHT = '.weight';
const BIAS = '.bias';

/** Biases of the tested side that hold those of the weights that their own weight holds, in that order. */
export async function matchVectors(
  tested: readonly Print[],
  pairs: readonly WeightPair[],
  references: ReadonlyMap<string, TensorInfo>,
): Promise<WeightPair[]> {
  const found: WeightPair[] = [];
  for (const { tensor } of tested) {
    const weight = tensor.name.endsWith(BIAS) ? `${tensor.name.slice(0, -BIAS.length)}${WEIGHT}` : undefined;
    const pair = pairs.find((each) => each.tested.name === weight);
    if (pair === undefined || pair.turned === 'tested') continue;
    const segments = pair.segments.flatMap((segment): Segment[] => {
      const name = segment.reference.name.replace(/\.weight$/, BIAS);
      const reference = references.get(name);
      return reference === undefined || name === segment.reference.name ? [] : [{ ...segment, reference }];
    });
    const count = countOf(tensor.shape);
    if (segments.length < pair.segments.length) continue;
    if (segments.reduce((sum, segment) => sum + segment.count, 0) !== count) continue;
    const expected = await vectorOf(segments, count);
    const dtypes = segments.map(({ reference }) => reference.dtype);
    const error = printDistance(expected, await tensorValues(tensor, 0, count), 'none');
    if (error > explainedBy(tensor.dtype, ...dtypes)) continue;
    found.push({
      tested: tensor,
      segments,
      turned: 'none',
      isReshaped: false,
      change: 'none',
      by: 'content',
    });
  }
  return found;
}

async function vectorOf(segments: readonly Segment[], total: number): Promise<Float32Array> {
  const out = new Float32Array(total);
  let at = 0;
  for (const { reference, first, count, order } of segments) {
    const values = await tensorValues(reference, 0, countOf(reference.shape));
    for (let k = 0; k < count; k++, at++) out[at] = values[first + rowOf(order, k)]!;
  }
  return out;
}
