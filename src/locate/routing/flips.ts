import { changedExperts, type TokenFlip } from '../../diff/routing.js';

/**
 * Why a token took another expert.
 * - `close call`: its margin is within 4 times the error that the block's other tokens have in their biased
 *   probabilities, and no more than rounding makes; never where so many tokens flip that rounding cannot be
 *   the cause, nor of a token that flipped before and is off by more than those others
 * - `inherited`: a token that it sees (itself included) flipped in an earlier block, so its input is another
 *   one
 * - `large error`: neither; this token's probabilities are off by more than others' are
 * - `wrong choice`: the margin is more than the token's own error explains: the choice contradicts the tested
 *   run's own probabilities. No rounding does that
 * - `no skip class`: the reference chose the class without an expert, which the tested program never does,
 *   against its own probabilities or for want of one
 * - `unknown`: the probabilities were not held
 */
export type FlipCause =
  | 'close call'
  | 'inherited'
  | 'large error'
  | 'wrong choice'
  | 'no skip class'
  | 'unknown';

/** A token whose expert differs. */
export interface RoutingFlip extends TokenFlip {
  /**
   * Lead of the reference's choice over the tested one in the reference's biased probabilities; null where
   * they were not held.
   */
  margin: number | null;
  /** Largest error of the token's own biased probabilities; null where they were not held. */
  error: number | null;
  cause: FlipCause;
}

/** What is kept of a block, by sequence and position. */
export interface BlockRows {
  experts: Map<string, readonly [reference: readonly number[], tested: readonly number[]]>;
  /** Biased probabilities: the reference's, and the token's largest error. */
  biased: Map<string, { values: Float64Array; error: number }>;
  /** Energies of the output's error and of the reference. */
  outputs: Map<string, readonly [error: number, size: number]>;
}

export function sameExperts([mine, others]: readonly [readonly number[], readonly number[]]): boolean {
  return changedExperts(mine, others).length === 0;
}

/** The first position of each sequence among tokens, by their keys. */
export function firstPositions(keys: Iterable<string>): Map<number, number> {
  const first = new Map<number, number>();
  for (const key of keys) {
    const [sequence, position] = key.split(' ').map(Number) as [number, number];
    first.set(sequence, Math.min(position, first.get(sequence) ?? position));
  }
  return first;
}

/**
 * @param gone tokens that took another expert in an earlier block.
 * @param firstGone their {@link firstPositions}: a token sees those that are not after it.
 */
export function describeFlip(
  block: number,
  key: string,
  [reference, tested]: readonly [number, number],
  { biased }: BlockRows,
  { clean, close }: { clean: number; close: number },
  gone: ReadonlySet<string>,
  firstGone: ReadonlyMap<number, number>,
): RoutingFlip {
  const [sequence, position] = key.split(' ').map(Number) as [number, number];
  const probabilities = biased.get(key);
  // A dump may hold the probabilities of the first classes only.
  const [best, other] = [probabilities?.values[reference], probabilities?.values[tested]];
  const margin = best === undefined || other === undefined ? null : best - other;
  const error = probabilities?.error ?? null;
  const sees = (firstGone.get(sequence) ?? Number.POSITIVE_INFINITY) <= position;
  return {
    block,
    sequence,
    position,
    reference,
    tested,
    margin,
    error,
    cause: causeOf(margin, error, close, sees, gone.has(key) && error !== null && error > clean),
  };
}

/**
 * @param isOther true for a token that took another expert in an earlier block and whose probabilities are
 * off by more than those of any that did not.
 */
function causeOf(
  margin: number | null,
  error: number | null,
  close: number,
  sees: boolean,
  isOther: boolean,
): FlipCause {
  if (margin === null || error === null || Number.isNaN(margin)) return 'unknown';
  // Both probabilities may be off by the error, in opposite directions; rounding of the sums is F32's.
  if (margin > 2 * error + 2 ** -22) return 'wrong choice';
  if (margin <= close && !isOther) return 'close call';
  return sees ? 'inherited' : 'large error';
}

/**
 * Names the true cause where the tested program never chooses the skip class, though the reference does and
 * rounding does not explain it.
 */
export function withoutSkipClass(flips: readonly RoutingFlip[], blocks: readonly BlockRows[]): RoutingFlip[] {
  const classes = Math.max(
    0,
    ...blocks.flatMap(({ biased }) => [...biased.values()].map(({ values }) => values.length)),
  );
  const skip = classes - 1;
  const isChosen = blocks.some(({ experts }) =>
    [...experts.values()].some(([, tested]) => tested.includes(skip)),
  );
  const isRefused = flips.some(({ reference, cause }) => reference === skip && cause === 'wrong choice');
  if (classes === 0 || isChosen || !isRefused) return [...flips];
  return flips.map((flip) => (flip.reference === skip ? { ...flip, cause: 'no skip class' } : flip));
}
