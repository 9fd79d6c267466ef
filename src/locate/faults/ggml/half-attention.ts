/**
 * Attention over an F16 cache in a build of ggml that sums in F16 (see `half-sums.ts`). The blocked kernels
 * want two rows and more, so that in steps of one token both of its products are F16 dot products: of a query
 * with each key, and of the weights with each channel of the values.
 */
import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';
import type { Family } from '../../../families/family.js';
import { type HeadRows, headRows } from '../../causes/flash-attention.js';
import { type HalfForm, halfDot, toHalf } from './half-dot.js';
import { BUILDS, spread } from './half-sums.js';

/** Steps of one token, and tokens of longer ones, that are recomputed. */
const TOKENS = 12;
/** Of a token: heads whose weights are recomputed, and channels of the output. */
const HEADS = 4;
const CHANNELS = 24;
/** llama.cpp's caches are read in multiples of as many cells; those behind the last key have weight 0. */
const CELLS = 256;

const FORMS = ['avx512', 'neon'] as const;
type Products = (x: Float64Array, y: Float64Array) => number;

/** Which build's sums attention has in a dump, and what they leave of its error. */
export interface HalfAttention {
  build: string;
  /** `one`: in steps of one token; `all`: in all steps, as where ggml was built without blocked kernels. */
  steps: 'one' | 'all';
  /** Tokens of which values are recomputed. */
  tokens: number;
  /** Energy NMSE over the sample: against exact products, and recomputed so. */
  exact: number;
  left: number;
}

/**
 * Recomputes a sample of attention's weights or output in a block from the dump's values, with products
 * summed in F16. Null where that leaves more than `explains` of the error that is left with F32 sums over an
 * F16 cache, where the dump lacks one of the values, and for dumps of several sequences, whose order in the
 * cache is not known.
 */
export async function halfAttention(
  dump: DumpView,
  block: number,
  names: NonNullable<Family['attention']>,
  part: 'weights' | 'output',
  explains: number,
): Promise<HalfAttention | null> {
  const tap = (name: keyof typeof names) => `layers.${block}${names[name]}`;
  if (dump.manifest.sequences.length !== 1 || !dump.taps.some(({ name }) => name === tap(part))) return null;
  const recompute = await (part === 'weights' ? recomputedWeights : recomputedOutput)(dump, tap);
  if (recompute === null) return null;
  const { step } = await dump.rows(tap(part));
  const isAlone = (row: number) => step[row] !== step[row - 1] && step[row] !== step[row + 1];
  const rows = Array.from(step, (_, row) => row);
  const [alone, others] = [rows.filter(isAlone), rows.filter((row) => !isAlone(row))];
  const sums = { exact: 0, plain: 0, energy: 0, one: { avx512: 0, neon: 0 }, all: { avx512: 0, neon: 0 } };
  const sampled = [...sample(alone), ...sample(others)];
  for (const row of sampled) {
    const error = await recompute(row);
    if (error === null) return null;
    sums.exact += error.exact;
    sums.plain += error.plain;
    sums.energy += error.energy;
    for (const form of FORMS) {
      sums.all[form] += error[form];
      sums.one[form] += isAlone(row) ? error[form] : error.plain;
    }
  }
  let best: HalfAttention | null = null;
  for (const steps of ['one', 'all'] as const)
    for (const form of FORMS) {
      const error = sums[steps][form];
      if (!(error < explains * Math.min(sums.exact, sums.plain))) continue;
      const found = {
        build: BUILDS[form],
        steps,
        tokens: sampled.length,
        exact: sums.exact / sums.energy,
        left: error / sums.energy,
      };
      if (best === null || found.left < best.left) best = found;
    }
  return best;
}

function sample(rows: readonly number[]): number[] {
  return spread(rows.length, TOKENS).map((k) => rows[k]!);
}

/** Squared errors of a token's sampled values, by how they are recomputed, and the squares of exact ones. */
type RowErrors = Record<'exact' | 'plain' | 'energy' | HalfForm, number>;
type Recompute = (row: number) => Promise<RowErrors | null>;
type TapOf = (name: 'queries' | 'keys' | 'values' | 'weights' | 'output') => string;

/** Errors of values of the dump, of which `compute` makes each way's from products of its own. */
function errorsOf(
  given: readonly number[],
  compute: (dot: Products, isHalf: boolean) => number[],
): RowErrors {
  const exact = compute(exactDot, false);
  const error = (computed: readonly number[]) =>
    computed.reduce((sum, value, k) => sum + (value - given[k]!) ** 2, 0);
  return {
    exact: error(exact),
    plain: error(compute(exactDot, true)),
    energy: exact.reduce((sum, value) => sum + value ** 2, 0),
    avx512: error(compute((x, y) => halfDot(x, y, 'avx512'), true)),
    neon: error(compute((x, y) => halfDot(x, y, 'neon'), true)),
  };
}

async function recomputedWeights(dump: DumpView, tap: TapOf): Promise<Recompute | null> {
  const [queries, keys] = [await headRows(dump, tap('queries')), await headRows(dump, tap('keys'))];
  if (queries === undefined || keys === undefined) return null;
  const { heads, width } = queries;
  const scale = 1 / Math.sqrt(width);
  return async (row) => {
    const weights = await rowOf(dump, tap('weights'), row);
    const size = weights.length / heads;
    if (row >= Math.min(queries.rows, keys.rows) || size <= row) return null;
    const sampled = spread(heads, HEADS);
    return errorsOf(
      sampled.flatMap((head) => [...weights.subarray(head * size, head * size + row + 1)]),
      (dot, isHalf) =>
        sampled.flatMap((head) => {
          const query = vector(queries, row, head, isHalf);
          const own = Math.floor((head * keys.heads) / heads);
          const scores = Array.from(
            { length: row + 1 },
            (_, at) => dot(query, vector(keys, at, own, isHalf)) * scale,
          );
          const largest = scores.reduce((a, b) => Math.max(a, b));
          const powers = scores.map((score) => Math.exp(score - largest));
          const sum = powers.reduce((a, b) => a + b);
          return powers.map((power) => power / sum);
        }),
    );
  };
}

async function recomputedOutput(dump: DumpView, tap: TapOf): Promise<Recompute | null> {
  const values = await headRows(dump, tap('values'));
  if (values === undefined || !dump.taps.some(({ name }) => name === tap('weights'))) return null;
  const { width } = values;
  return async (row) => {
    const [weights, output] = [await rowOf(dump, tap('weights'), row), await rowOf(dump, tap('output'), row)];
    const heads = output.length / width;
    const size = weights.length / heads;
    if (row >= values.rows || !(size > row)) return null;
    const sampled = spread(output.length, CHANNELS);
    const cells = Math.ceil((row + 1) / CELLS) * CELLS;
    return errorsOf(
      sampled.map((at) => output[at]!),
      (dot, isHalf) =>
        sampled.map((at) => {
          const head = Math.floor(at / width);
          const own = Math.floor((head * values.heads) / heads);
          const [x, y] = [new Float64Array(cells), new Float64Array(cells)];
          for (let key = 0; key <= row; key++) {
            const value = values.data[(key * values.heads + own) * width + (at % width)]!;
            const weight = weights[head * size + key]!;
            x[key] = isHalf ? toHalf(weight) : weight;
            y[key] = isHalf ? toHalf(value) : value;
          }
          return dot(x, y);
        }),
    );
  };
}

/** Empty where the dump has no value there. */
async function rowOf(dump: DumpView, name: string, row: number): Promise<Float32Array> {
  const batch = await dump.readRows(name, row, row + 1);
  return batch === undefined ? new Float32Array(0) : toFloat32(batch.data, batch.dtype);
}

function vector({ data, heads, width }: HeadRows, row: number, head: number, isHalf: boolean): Float64Array {
  const first = (row * heads + head) * width;
  const own = data.subarray(first, first + width);
  return isHalf ? Float64Array.from(own, toHalf) : Float64Array.from(own);
}

function exactDot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += x[k]! * y[k]!;
  return sum;
}
