/**
 * Verdicts on two dumps without a model: only errors that have gathered are known, so an op is suspected
 * where they begin.
 */
import { tapNonFinite } from '../../diff/report.js';
import type { TapNoise } from '../noise/noise-floor.js';
import { errorOf, type OpEvidence } from './evidence.js';
import type { OpVerdict } from './report.js';
import { NOISE_RATIO } from './verdict.js';

/** What F32 arithmetic in another order stays below after a few ops, as energy NMSE. */
const F32_LIMIT = 1e-11;

/** Spacing of floats at 1. */
const UNITS: Partial<Record<string, number>> = { F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 };

/**
 * Largest cumulative error (energy NMSE) that passes: 3 times the noise where there is a floor; else
 * `failAbove`, by default 1e-11, or where a side is in half precision 16 units in the last place.
 */
export function aloneLimit({ cumulative, noise }: OpEvidence, failAbove: number | undefined): number {
  if (cumulative.kind === 'integer') return 0;
  if (isFloor(noise)) return NOISE_RATIO.bad ** 2 * noise.noiseNmse;
  const { reference, tested } = cumulative.dtypes;
  const coarser = Math.max(UNITS[reference] ?? 0, UNITS[tested] ?? 0);
  return failAbove ?? (coarser <= UNITS.F32! ? F32_LIMIT : (16 * coarser) ** 2 / 12);
}

/**
 * `fault`: above its limit while all inputs are within theirs; where there is a noise floor inputs must be
 * within 1.5 times the noise, so that an error which grows slowly is not blamed on the op at which it crosses
 * the limit.
 * @param wrongChoices taps of experts that contradict the tested run's own probabilities.
 */
export function verdictAlone(
  own: OpEvidence,
  inputs: readonly OpEvidence[],
  failAbove: number | undefined,
  wrongChoices: ReadonlySet<string>,
): OpVerdict {
  const { cumulative } = own;
  const error = errorOf(cumulative);
  if (tapNonFinite(cumulative) > 0)
    return inputs.every((input) => tapNonFinite(input.cumulative) === 0) ? 'fault' : 'not judged';
  if (error === 0) return 'exact';
  if (error <= aloneLimit(own, failAbove)) return 'within noise';
  // A choice may flip as soon as its inputs differ at all.
  if (cumulative.kind === 'integer') return wrongChoices.has(cumulative.name) ? 'fault' : 'not judged';
  return inputs.every((input) => isRight(input, failAbove)) ? 'fault' : 'not judged';
}

function isRight(input: OpEvidence, failAbove: number | undefined): boolean {
  const { noise, cumulative } = input;
  const error = errorOf(cumulative);
  return isFloor(noise)
    ? error <= NOISE_RATIO.good ** 2 * noise.noiseNmse
    : error <= aloneLimit(input, failAbove);
}

/** A noise run with NaN or infinity in it says nothing of what is usual. */
function isFloor(noise: OpEvidence['noise']): noise is TapNoise {
  return noise !== undefined && noise.nonFinite.noise === 0;
}
