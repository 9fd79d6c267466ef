/** Values that may belong together, and which of them to look at first. */
import type { Fit } from '../layouts.js';

/** A tested class that may be the partner of a reference class. */
export interface Candidate {
  tested: number;
  /** Distance of their quantiles. */
  quantiles: number;
  fit: Fit;
}

/** Two classes that belong together. */
export interface ClassPair extends Candidate {
  reference: number;
  /**
   * `elements`: they agree and no others nearly do; `tokens`: those of some tokens agree, and of no other
   * value any do; `neighbours`: their places in both graphs; `role`: both dumps say that they are the logits.
   */
  by: 'elements' | 'tokens' | 'neighbours' | 'role';
  /** The next best candidate of either side. */
  next: { tested: number; reference: number; error: number } | undefined;
}

/** Errors below are those of F32 sums in another order. */
export const ROUNDING = 1e-9;
/** Up to here a part and the whole may differ in error because the part leaves elements out. */
const AS_ROUNDED = 1e-5;

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
  if (a.fit.error <= 1.1 * b.fit.error + ROUNDING) return true;
  return isCut(b) && !isCut(a) && a.fit.error <= Math.min(AS_ROUNDED, 4 * b.fit.error);
}

/** The best candidate: of a value and the same as a part of another, the value. */
export function wholeFirst(list: readonly Candidate[]): Candidate {
  const [best] = list as [Candidate];
  return isCut(best) ? (list.find((each) => !isCut(each) && isAsGood(each, best)) ?? best) : best;
}
