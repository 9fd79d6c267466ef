/** Values that may belong together, and which of them to look at first. */
import type { Fit } from './layouts.js';

/** A tested class that may be the partner of a reference class. */
export interface Candidate {
  tested: number;
  /** Distance of their quantiles. */
  quantiles: number;
  fit: Fit;
}

/** Errors below are those of F32 sums in another order. */
export const ROUNDING = 1e-9;

/** Whether a part of either value is meant. */
export function isCut({ fit }: Candidate): boolean {
  return fit.isPrefix || fit.layout.some(({ op }) => CUTS.has(op));
}

const CUTS: ReadonlySet<string> = new Set([
  'lastTokens',
  'beforeTokens',
  'visible',
  'firstColumns',
  'lastColumns',
]);

export function isAsGood(a: Candidate, b: Candidate): boolean {
  return a.fit.error <= 1.1 * b.fit.error + ROUNDING;
}

/** The best candidate: of a value and the same as a part of another, the value. */
export function wholeFirst(list: readonly Candidate[]): Candidate {
  const [best] = list as [Candidate];
  return isCut(best) ? (list.find((each) => !isCut(each) && isAsGood(each, best)) ?? best) : best;
}
