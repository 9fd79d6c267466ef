/**
 * Products that a build of ggml sums in F16. Its F16 dot product does so on processors with F16 arithmetic,
 * the blocked kernels (llamafile's) do not: so it shows where those do not apply, that is in the experts and
 * in a head whose rows are no multiple of 4. Such sums cannot be made by the library that runs here; a sample
 * of them is computed one by one.
 */
import type { DumpView } from '../../../dump/dump-view.js';
import { elementsOf, toFloat32 } from '../../../dump/float.js';
import type { Policy } from '../../../graph/policy.js';
import { matrixDtype } from '../../../models/runtime/loader.js';
import type { Model } from '../../../models/runtime/model.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { checkWeights } from '../../../models/runtime/weights.js';
import type { TensorInfo } from '../../../weights/checkpoint.js';
import { readTensor } from '../../../weights/tensor-data.js';
import { directInputs } from '../../replay/tap-graph.js';
import { type HalfForm, halfDot, toHalf } from './half-dot.js';

/** Tokens and output rows of the sample, spread over all there are. */
const TOKENS = 12;
const ROWS = 24;
/** Share of the sample that must be the dump's bits, and the fewest values that say something. */
const SAME = 0.9;
const LEAST = 32;

/** In words, the builds of ggml whose dot product sums in F16. */
export const BUILDS: Readonly<Record<HalfForm, string>> = {
  avx512: 'AVX512-FP16',
  neon: "ARM's FP16 vectors",
};

/** Which build's sums a product has, and how many of the sampled values are its bits. */
export interface HalfSums {
  build: string;
  same: number;
  sampled: number;
}

/**
 * Tries whether the values of a product in the dump are sums that ggml makes in F16. Null where they are not,
 * where the weight is not F16 under `policy`, and where the dump lacks an input.
 * @param tap a product without bias.
 */
export async function halfSums(
  model: Model,
  policy: Policy,
  dump: DumpView,
  tap: string,
): Promise<HalfSums | null> {
  const held = new Map(dump.taps.map((each) => [each.name, each]));
  const { inputs } = directInputs(tap, model.config.num_hidden_layers, model.config.model_type);
  const weight = weightOf(model, policy, tap);
  if (weight === undefined || !inputs.every((name) => held.has(name))) return null;
  const choice = inputs.find((name) => held.get(name)!.dtype === 'I32');
  const input = inputs.find((name) => name !== choice);
  if (input === undefined) return null;
  const { shape, info } = weight;
  const [rows, columns] = shape.slice(-2) as [number, number];
  const found = { avx512: 0, neon: 0 };
  let sampled = 0;
  const tokens = (await dump.rows(tap)).position.length;
  for (const token of spread(tokens, TOKENS)) {
    const row = async (name: string) => {
      const batch = (await dump.readRows(name, token, token + 1))!;
      return toFloat32(batch.data, batch.dtype);
    };
    const [values, x] = [await row(tap), Float64Array.from(await row(input), toHalf)];
    const expert = choice === undefined ? 0 : (await row(choice))[0]!;
    // The skip class has no weights.
    if (x.length !== columns || (shape.length > 2 && expert >= shape[0]!)) continue;
    for (const at of spread(Math.min(rows, values.length), ROWS)) {
      const begin = (expert * rows + at) * columns;
      const w = Float64Array.from(await elementsAt(info, begin, columns), toHalf);
      if (values[at] === 0) continue;
      sampled++;
      for (const form of ['avx512', 'neon'] as const) if (halfDot(w, x, form) === values[at]) found[form]++;
    }
  }
  const best = found.avx512 >= found.neon ? 'avx512' : 'neon';
  if (sampled < LEAST || found[best] < SAME * sampled) return null;
  return { build: BUILDS[best], same: found[best], sampled };
}

/**
 * The matrix that a product multiplies with, if it is F16 under the policy and the values of the checkpoint
 * can be read.
 */
function weightOf({ config, weights }: Model, policy: Policy, tap: string) {
  const { checkpoint, tensors } = weights;
  const { products } = traceModel(config, { hasHead: tensors.has('lm_head.weight') });
  const names = products.get(tap) ?? [];
  const found = checkWeights(checkpoint, config).tensors.find(({ name }) => name === names[0]);
  if (names.length !== 1 || found === undefined) return undefined;
  if (found.info.storedAxes !== undefined || !(found.info.dtype in BYTES)) return undefined;
  const isF16 = matrixDtype(found, found.info.dtype, config, settingOf(policy, config)) === 'F16';
  return isF16 ? found : undefined;
}

/** Bytes of an element in the dtypes that become F16. */
const BYTES: Readonly<Partial<Record<string, number>>> = { F32: 4, F16: 2, BF16: 2 };

async function elementsAt(info: TensorInfo, begin: number, count: number): Promise<Float32Array> {
  const dtype = info.dtype as 'F32' | 'F16' | 'BF16';
  const size = BYTES[dtype]!;
  return toFloat32(elementsOf(dtype, await readTensor(info, begin * size, (begin + count) * size)), dtype);
}

/** Up to `count` indices below `size`, evenly spread, the first and last among them. */
export function spread(size: number, count: number): number[] {
  const all = Array.from({ length: Math.min(size, count) }, (_, k) =>
    size <= count ? k : Math.round((k * (size - 1)) / (count - 1)),
  );
  return all;
}
