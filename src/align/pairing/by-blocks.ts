/** Pairs values that are each other's nearest, where other blocks show that they belong together. */
import { clearest } from './by-elements.js';
import { wholeFirst } from './candidate.js';
import type { Candidates } from './candidates.js';
import type { Context } from './context.js';
import { BlockRules } from './kinds.js';

/** How many times nearer than the next one a partner must be. */
const CLEAR_IN_BLOCKS = 1;
const MOST_ERROR_IN_BLOCKS = 0.25;

/** @returns whether any was paired. */
export function pairByOtherBlocks(candidates: Candidates, context: Context): boolean {
  const { pairs, reference: side, tested: other } = context;
  const rules = new BlockRules(
    pairs
      .all()
      .flatMap(({ reference, tested, by }) =>
        by === 'neighbours'
          ? []
          : side.classes[reference]!.members.flatMap(({ tap }) =>
              other.classes[tested]!.members.map((member) => [tap.name, member.tap.name] as const),
            ),
      ),
  );
  let isNew = false;
  for (const { id } of side.classes) {
    const list = candidates.of(id).filter(({ tested }) => !pairs.isTaken(tested));
    if (pairs.has(id) || list.length === 0) continue;
    const best = wholeFirst(list);
    if (best.fit.error > MOST_ERROR_IN_BLOCKS) continue;
    if (!rules.joins(side.classes[id]!, other.classes[best.tested]!)) continue;
    const chosen = clearest(candidates, context, id, best, { factor: CLEAR_IN_BLOCKS, inPlace: false });
    if (chosen === undefined || !context.isConsistent(id, best.tested)) continue;
    pairs.add({ reference: id, ...best, by: 'elements', next: chosen.next });
    isNew = true;
  }
  return isNew;
}
