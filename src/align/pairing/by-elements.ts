/** Pairs values whose elements agree, and no others' nearly do. */
import { type Candidate, type ClassPair, isAsGood, isCut, ROUNDING, wholeFirst } from './candidate.js';
import type { Candidates } from './candidates.js';
import type { Context } from './context.js';

/** Above this nothing is paired by its elements. */
export const MOST_ERROR = 0.1;
/** How many times nearer than the next one a partner must be. */
const CLEAR = 25;
/** The same, among those that the graphs allow. */
export const CLEAR_AMONG_FEW = 4;

/**
 * Pairs from the best on.
 * @param limit largest error. @param withContext graphs settle ties and errors must be explained.
 */
export function pairByElements(
  candidates: Candidates,
  context: Context,
  limit: number,
  withContext: boolean,
): void {
  const { pairs, reference: side } = context;
  const all = side.classes.flatMap(({ id }) => {
    const list = candidates.of(id);
    return pairs.has(id) || list.length === 0 ? [] : [{ id, best: wholeFirst(list) }];
  });
  for (const { id, best } of all.sort((a, b) => a.best.fit.error - b.best.fit.error)) {
    if (best.fit.error > limit || (pairs.isTaken(best.tested) && !isCut(best))) continue;
    const chosen =
      clearest(candidates, context, id, best, { factor: CLEAR, inPlace: false }) ??
      (withContext
        ? clearest(candidates, context, id, best, { factor: CLEAR_AMONG_FEW, inPlace: true })
        : undefined);
    if (chosen === undefined) continue;
    if (withContext && !context.isExplained(id, best)) continue;
    if (!context.isConsistent(id, best.tested)) continue;
    pairs.add({ reference: id, ...best, by: 'elements', next: chosen.next });
  }
}

/**
 * Whether on both sides the next candidates are far behind: then the nearest of them; else undefined.
 * `factor`: how many times. `inPlace`: only those count that the graphs allow.
 */
export function clearest(
  candidates: Candidates,
  context: Context,
  reference: number,
  best: Candidate,
  { factor, inPlace }: { factor: number; inPlace: boolean },
): { next: ClassPair['next'] } | undefined {
  const { pairs } = context;
  const least = factor * Math.max(best.fit.error, ROUNDING / factor);
  const list = candidates.of(reference);
  const isRival = (rival: Candidate) =>
    rival.tested !== best.tested &&
    !pairs.isTaken(rival.tested) &&
    rival.fit.error <= least &&
    !isPartOf(context, best, rival) &&
    (!inPlace || context.isConsistent(reference, rival.tested));
  if (list.some(isRival)) return undefined;
  // Several values may be parts of one.
  const others = candidates.claims(best.tested).filter((each) => each.reference !== reference && !each.isCut);
  const isOtherRival = (other: { reference: number; error: number }) =>
    !pairs.has(other.reference) &&
    other.error <= least &&
    (!inPlace || context.isConsistent(other.reference, best.tested));
  if (!isCut(best) && others.some(isOtherRival)) return undefined;
  const nextTested = list.find(({ tested }) => tested !== best.tested);
  const [nextReference] = others;
  const isTestedNearer =
    (nextTested?.fit.error ?? Number.POSITIVE_INFINITY) <= (nextReference?.error ?? Number.POSITIVE_INFINITY);
  if (isTestedNearer)
    return { next: nextTested && { tested: nextTested.tested, reference, error: nextTested.fit.error } };
  const { reference: other, error } = nextReference!;
  return { next: { tested: best.tested, reference: other, error } };
}

/** Whether a candidate is a part of a value that the other went into, such as one of two that were joined. */
export function isPartOf(context: Context, whole: Candidate, part: Candidate): boolean {
  if (!isCut(part) || isCut(whole) || !isAsGood(whole, part)) return false;
  return !context.tested.hasEdges || context.ancestorsOf(part.tested).has(whole.tested);
}
