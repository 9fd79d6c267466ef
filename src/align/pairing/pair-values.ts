/**
 * Pairs the values of two sides: by their elements where these agree, by the two graphs where they do not.
 */
import type { Side } from '../classes.js';
import type { CallSizes } from '../layouts.js';
import { pairByOtherBlocks } from './by-blocks.js';
import { MOST_ERROR, pairByElements } from './by-elements.js';
import { dropUnfounded, pairByNeighbours } from './by-neighbours.js';
import { pairByTokens } from './by-tokens.js';
import type { Candidate, ClassPair } from './candidate.js';
import { Candidates } from './candidates.js';
import { Context } from './context.js';
import { Pairs } from './pairs.js';

/** The outcome of {@link pairValues}. */
export interface PairedValues {
  pairs: ClassPair[];
  /** By reference class without partner: candidates, the best first. */
  open: ReadonlyMap<number, readonly Candidate[]>;
}

/** Pairs classes of `reference` with classes of `tested`. */
export function pairValues(reference: Side, tested: Side, sizes: CallSizes): PairedValues {
  const candidates = new Candidates(reference, tested, sizes);
  const pairs = new Pairs();
  const context = new Context(reference, tested, pairs);
  // What is all but the same first, whatever lies around it; then outward from there.
  pairByElements(candidates, context, 1e-6, false);
  for (;;) {
    const before = pairs.size;
    pairByElements(candidates, context, MOST_ERROR, context.hasEdges);
    if (pairs.size > before) continue;
    if (pairByTokens(candidates, context)) continue;
    if (!pairByOtherBlocks(candidates, context) && !pairByNeighbours(candidates, context)) break;
  }
  dropUnfounded(context);
  const open = new Map<number, readonly Candidate[]>();
  for (const { id } of reference.classes) if (!pairs.has(id)) open.set(id, candidates.of(id).slice(0, 3));
  return { pairs: pairs.all(), open };
}
