import { basename, resolve } from 'node:path';
import { MetricSums, type TensorMetrics } from '../diff/metrics.js';
import {
  type NonFiniteCounts,
  nonFiniteCounts,
  type ReportNonFinite,
  sumNonFinite,
} from '../diff/non-finite.js';
import { type Outcome, outcomeOf } from '../diff/outcome.js';
import { badArgument } from '../errors.js';
import type { ModelLayout, ModelSource } from '../models/layout/source.js';
import { tapPattern } from '../tap-pattern.js';
import { pairTensors, type TensorPair, type UnpairedTensor } from './pair-tensors.js';
import { CHUNK_ELEMENTS, tensorValues } from './tensor-values.js';

/** Options of {@link diffWeights}. */
export interface DiffWeightsOptions {
  /**
   * Tensors to compare: globs over names of the transformers layout, in the dialect of tap patterns. Default
   * `**`.
   */
  tensors?: string;
  /** Largest energy NMSE that a tensor may have, 0 or more. Default: report only. */
  failAbove?: number;
  /**
   * What is not finite in the same way on both sides is left out and counted, instead of failing the diff.
   * Default false.
   */
  allowNonFinite?: boolean;
  /** Called after each tensor, with how many are done and in all. */
  onProgress?: (done: number, total: number) => void;
}

/** One compared tensor. */
export interface WeightDiff {
  /** Its name in the transformers layout; paired by content, that of the reference's tensor or tensors. */
  name: string;
  /** Paired by content: the tested side's name. */
  from?: string;
  /** Paired by content: how the tested side holds it, in words; empty where it lies so. */
  layout?: string;
  /** Of the reference, slowest axis first. */
  shape: readonly number[];
  dtypes: { reference: string; tested: string };
  /** Over both sides widened to F32. */
  metrics: TensorMetrics;
  /** True if every element compared is finite and has the same bits in F32. */
  identical: boolean;
  /** What is not finite; null where everything is. */
  nonFinite: NonFiniteCounts | null;
  /** Paired by content: true where it holds what another tensor should, by the names; `note` says which. */
  misplaced?: boolean;
  /** Set where not simply all of two tensors of this name were compared. */
  note?: string;
}

/** One side of the comparison. */
export interface WeightsSide {
  /** Basename of its folder or file. */
  name: string;
  layout: ModelLayout;
}

/** The outcome. Numbers may be infinite. */
export interface WeightsDiffReport {
  reference: WeightsSide;
  tested: WeightsSide;
  failAbove: number | null;
  /**
   * False if something is unpaired or misplaced, nothing was compared, something is not finite, or a tensor
   * exceeds `failAbove`.
   */
  pass: boolean;
  /** `pass` in a word; without a threshold tensors that differ are not judged. */
  outcome: Outcome;
  /** What is not finite in all tensors. */
  nonFinite: ReportNonFinite;
  unpaired: UnpairedTensor[];
  /** What else a reader should know. */
  notes?: string[];
  /** From the largest energy NMSE. */
  tensors: WeightDiff[];
}

/**
 * Compares the weights of two models in any layout and dtype, tensor by tensor, under the names of the
 * transformers layout. Streams: memory does not grow with the models, but for convolutions whose axes one
 * side stores in another order. Only quantised types need the native addon.
 *
 * @throws `BAD_ARGUMENT` for a bad pattern or threshold; `IO`; `BACKEND` where the addon is needed and
 * missing.
 */
export async function diffWeights(
  reference: ModelSource,
  tested: ModelSource,
  options: DiffWeightsOptions = {},
): Promise<WeightsDiffReport> {
  const { tensors: pattern = '**', failAbove, allowNonFinite = false, onProgress } = options;
  if (failAbove !== undefined && !(failAbove >= 0))
    throw badArgument('diffWeights', 'failAbove to be 0 or more', failAbove);
  const { pairs, unpaired } = pairTensors(reference, tested, tapPattern(pattern));
  if (pairs.length + unpaired.length === 0)
    throw badArgument('diffWeights', 'a pattern that matches a tensor', pattern);
  const tensors: WeightDiff[] = [];
  for (const pair of pairs) {
    tensors.push(await comparePair(pair, allowNonFinite));
    onProgress?.(tensors.length, pairs.length);
  }
  const fails = tensors.some(({ metrics }) => failAbove !== undefined && !(metrics.nmse <= failAbove));
  const nonFinite = sumNonFinite(tensors);
  const judged = {
    failAbove: failAbove ?? null,
    pass: tensors.length > 0 && unpaired.length === 0 && !fails && nonFinite.counted === 0,
  };
  return {
    reference: describe(reference),
    tested: describe(tested),
    ...judged,
    outcome: outcomeOf(judged, tensors),
    nonFinite,
    unpaired,
    tensors: tensors.sort((a, b) => b.metrics.nmse - a.metrics.nmse || 0),
  };
}

async function comparePair(
  { name, reference, tested, elements, note }: TensorPair,
  allowNonFinite: boolean,
): Promise<WeightDiff> {
  const sums = new MetricSums({ allowNaN: allowNonFinite });
  const isWhole = reference.storedAxes !== undefined || tested.storedAxes !== undefined;
  const step = isWhole ? elements : CHUNK_ELEMENTS;
  const read = (begin: number) => {
    const end = Math.min(begin + step, elements);
    return Promise.all([tensorValues(reference, begin, end), tensorValues(tested, begin, end)]);
  };
  // The next part is read, and dequantised on other threads, while this one is compared.
  let next = read(0);
  for (let begin = 0; begin < elements; begin += step) {
    const [a, b] = await next;
    if (begin + step < elements) next = read(begin + step);
    sums.add(a, b);
  }
  const metrics = sums.metrics();
  return {
    name,
    shape: reference.shape,
    dtypes: { reference: reference.dtype, tested: tested.dtype },
    metrics,
    identical: metrics.bitEqual === 1 && metrics.nonFinite === 0,
    nonFinite: nonFiniteCounts(metrics, { masked: false, allowed: allowNonFinite }),
    note,
  };
}

function describe({ path, layout }: ModelSource): WeightsSide {
  return { name: basename(resolve(path)), layout };
}
