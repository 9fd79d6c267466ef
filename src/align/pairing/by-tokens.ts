/**
 * Pairs values of which most tokens agree and some do not: where a router chose otherwise, or a fault sees
 * only later tokens. The middle token's error says so, where that of all tokens is that of the few.
 */
import { isPartOf } from './by-elements.js';
import { type Candidate, isCut, wholeFirst } from './candidate.js';
import type { Candidates } from './candidates.js';
import type { Context } from './context.js';

/** How large the middle token's error may be, and how large that of any other value must be. */
const NUMBERS = { most: 1e-3, clear: 25, least: 1e-9 };
/** The same for indices, of which the share of tokens that differ counts. */
const INDICES = { most: 0.25, clear: 2, least: 0.25 };

/** @returns whether any was paired. */
export function pairByTokens(candidates: Candidates, context: Context): boolean {
  const { pairs, reference: side } = context;
  let isNew = false;
  for (const { id, members } of side.classes) {
    if (pairs.has(id)) continue;
    const { most, clear, least } = members[0]!.isExact ? INDICES : NUMBERS;
    const list = candidates
      .of(id)
      .filter(({ tested, fit }) => !pairs.isTaken(tested) && fit.middle < Number.POSITIVE_INFINITY);
    if (list.length === 0) continue;
    const best = wholeFirst(list.toSorted((a, b) => a.fit.middle - b.fit.middle));
    const { middle } = best.fit;
    if (isCut(best) || middle > most) continue;
    const limit = Math.max(least, clear * middle);
    const isRival = (other: Candidate) =>
      other !== best && other.fit.middle <= limit && !isPartOf(context, best, other);
    if (list.some(isRival)) continue;
    const others = candidates.claims(best.tested).filter(({ reference }) => reference !== id);
    if (others.some((each) => !pairs.has(each.reference) && !each.isCut && each.middle <= limit)) continue;
    if (!context.isConsistent(id, best.tested)) continue;
    const next = candidates.of(id).find(({ tested }) => tested !== best.tested);
    pairs.add({
      reference: id,
      ...best,
      by: 'tokens',
      next: next && { tested: next.tested, reference: id, error: next.fit.error },
    });
    isNew = true;
  }
  return isNew;
}
