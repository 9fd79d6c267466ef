/** Pairs values that differ but stand between the same neighbours in both graphs. */
import { CLEAR_AMONG_FEW, isPartOf } from './by-elements.js';
import { type Candidate, wholeFirst } from './candidate.js';
import type { Candidates } from './candidates.js';
import type { Context } from './context.js';

/** A reference class and what could be its partner by place. */
interface Claimant {
  reference: number;
  candidates: Candidate[];
}

/** @returns whether any was paired. */
export function pairByNeighbours(candidates: Candidates, context: Context): boolean {
  if (!context.hasEdges) return false;
  let isNew = false;
  for (const claims of claimsByPlace(candidates, context))
    for (const claim of claims) {
      const chosen = chooseOf(claim, claims, context);
      if (chosen === undefined) continue;
      const { best, second } = chosen;
      context.pairs.add({
        reference: claim.reference,
        ...best,
        by: 'neighbours',
        next: second && { tested: second.tested, reference: claim.reference, error: second.fit.error },
      });
      isNew = true;
    }
  return isNew;
}

/** Reference classes without partner, those with the same paired sources together. */
function claimsByPlace(candidates: Candidates, context: Context): Iterable<Claimant[]> {
  const { pairs, reference: side, tested: other } = context;
  const keyOf = (ids: Set<number>) => [...ids].sort((a, b) => a - b).join();
  const bySources = new Map<string, number[]>();
  for (const { id } of other.classes) {
    if (pairs.isTaken(id)) continue;
    const key = keyOf(context.sourcesOfTested(id));
    if (key !== '') bySources.set(key, [...(bySources.get(key) ?? []), id]);
  }
  const places = new Map<string, Claimant[]>();
  for (const { id, members } of side.classes) {
    // Indices that differ do so by any amount.
    if (pairs.has(id) || members[0]!.isExact) continue;
    const key = keyOf(context.sources(id));
    const found = (bySources.get(key) ?? []).flatMap(
      (tested) => candidates.find(id, tested, Number.POSITIVE_INFINITY) ?? [],
    );
    if (found.length > 0) places.set(key, [...(places.get(key) ?? []), { reference: id, candidates: found }]);
  }
  return places.values();
}

/** The best of a place, if nothing else there is nearly as good. */
function chooseOf(
  { reference, candidates }: Claimant,
  claims: readonly Claimant[],
  context: Context,
): { best: Candidate; second: Candidate | undefined } | undefined {
  const sorted = candidates.toSorted((a, b) => a.fit.error - b.fit.error);
  const best = wholeFirst(sorted);
  const second = sorted.find((each) => each !== best && !isPartOf(context, best, each));
  if (context.pairs.isTaken(best.tested)) return undefined;
  const rivals = claims
    .filter((claim) => claim.reference !== reference)
    .flatMap((claim) => claim.candidates.filter(({ tested }) => tested === best.tested));
  const nextError = Math.min(
    second?.fit.error ?? Number.POSITIVE_INFINITY,
    ...rivals.map(({ fit }) => fit.error),
  );
  return nextError < CLEAR_AMONG_FEW * best.fit.error ? undefined : { best, second };
}

/** A value that differs, whose every successor agrees, is no partner: it is another way to the same end. */
export function dropUnfounded(context: Context): void {
  const { pairs, reference: side, tested: other } = context;
  for (const pair of pairs.all().toReversed()) {
    if (pair.by !== 'neighbours') continue;
    const after = context.after(pair);
    pairs.remove(pair);
    const isFollowed = after.some((next) => !context.isExplained(next.reference, next));
    const isEnd = side.classes[pair.reference]!.children.size === 0;
    if (isFollowed || (isEnd && other.classes[pair.tested]!.children.size === 0)) pairs.add(pair);
  }
}
