/**
 * Verdicts on two dumps without a model: only errors that have gathered are known, so an op is suspected
 * where they begin.
 */
import { tapNonFinite } from '../../diff/report.js';
import type { DumpView } from '../../dump/dump-view.js';
import type { Family } from '../../families/family.js';
import { hasRole } from '../../families/roles.js';
import type { TapNoise } from '../noise/noise-floor.js';
import { errorOf, type OpEvidence } from './evidence.js';
import type { OpVerdict } from './report.js';
import { NOISE_RATIO } from './verdict.js';

/** What F32 arithmetic in another order stays below after a few ops, as energy NMSE. */
const F32_LIMIT = 1e-11;

/** Spacing of floats at 1. */
const UNITS: Partial<Record<string, number>> = { F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 };

/** What limits depend on. */
export interface AloneRules {
  /** The user's own limit. */
  failAbove: number | undefined;
  /**
   * {@link coarsestDtype} of the two runs: what a run in half precision keeps in F32 is made of
   * rounded values and parameters all the same.
   */
  dtype: string;
  /** Values are of this family. */
  family: Family;
  /** Taps of experts that contradict the tested run's own probabilities. */
  wrongChoices: ReadonlySet<string>;
}

/** The coarser of the two dumps' main dtypes. */
export function coarsestDtype(...dumps: readonly Pick<DumpView, 'taps'>[]): string {
  const main = dumps.map(mainDtype);
  return main.includes('BF16') ? 'BF16' : main.includes('F16') ? 'F16' : 'F32';
}

/**
 * The dtype that most floats of a dump are stored in; F32 where half of them or fewer are in half precision.
 */
function mainDtype({ taps }: Pick<DumpView, 'taps'>): string {
  const floats = taps.map(({ dtype }) => dtype).filter((dtype) => UNITS[dtype] !== undefined);
  const count = (dtype: string) => floats.filter((each) => each === dtype).length;
  return ['BF16', 'F16'].find((dtype) => count(dtype) > floats.length / 2) ?? 'F32';
}

/**
 * Largest cumulative error (energy NMSE) that passes: 3 times the noise where there is a floor; else
 * `failAbove`, by default 1e-11, or where a side or its run is in half precision 16 units in the last place.
 */
export function aloneLimit({ cumulative, noise }: OpEvidence, { failAbove, dtype }: AloneRules): number {
  if (cumulative.kind === 'integer') return 0;
  if (isFloor(noise)) return NOISE_RATIO.bad ** 2 * noise.noiseNmse;
  const { reference, tested } = cumulative.dtypes;
  const coarser = Math.max(...[reference, tested, dtype].map((each) => UNITS[each] ?? 0));
  return failAbove ?? (coarser <= UNITS.F32! ? F32_LIMIT : (16 * coarser) ** 2 / 12);
}

/**
 * `fault`: above its limit while all inputs are within a quarter of theirs (as energy; with a noise floor: 3
 * times the noise and 1.5), so that an error which grows slowly is not blamed on the op at which it crosses
 * the limit.
 */
export function verdictAlone(own: OpEvidence, inputs: readonly OpEvidence[], rules: AloneRules): OpVerdict {
  const { cumulative } = own;
  const error = errorOf(cumulative);
  if (tapNonFinite(cumulative) > 0)
    return inputs.every((input) => tapNonFinite(input.cumulative) === 0) ? 'fault' : 'not judged';
  if (error === 0) return 'exact';
  if (error <= aloneLimit(own, rules)) return 'within noise';
  // A difference of two numbers that are close has any error relative to itself where they are rounded.
  if (hasRole(rules.family, 'router.margin', cumulative.name) && rules.dtype !== 'F32' && !isFloor(own.noise))
    return 'not judged';
  // A choice may flip as soon as its inputs differ at all.
  if (cumulative.kind === 'integer') return rules.wrongChoices.has(cumulative.name) ? 'fault' : 'not judged';
  return inputs.every((input) => isRight(input, rules)) ? 'fault' : 'not judged';
}

function isRight(input: OpEvidence, rules: AloneRules): boolean {
  return errorOf(input.cumulative) <= (NOISE_RATIO.good / NOISE_RATIO.bad) ** 2 * aloneLimit(input, rules);
}

/** A noise run with NaN or infinity in it says nothing of what is usual. */
function isFloor(noise: OpEvidence['noise']): noise is TapNoise {
  return noise !== undefined && noise.nonFinite.noise === 0;
}
