/** What is known of the order in which the taps of a report were computed. */
import type { DumpView } from '../dump/dump-view.js';
import type { TapOrder } from '../dump/format.js';
import { orderTaps } from '../dump/import/tap-order.js';
import type { TapPair } from './pairing.js';

/** True for orders that say which of two values was computed first. */
export function isKnownOrder(order: TapOrder): boolean {
  return order === 'execution' || order === 'declared';
}

/** The order of a dump's taps, as its manifest says. */
export function tapOrder({ manifest }: Pick<DumpView, 'manifest'>): TapOrder {
  return manifest.order ?? 'execution';
}

/**
 * Pairs in the order that the caller declares, else in the reference's, or where only the tested side knows
 * one in that.
 * @param declared names or patterns, as `readTapOrder` gives them. Throws `BAD_ARGUMENT` where they lack a
 * tap.
 */
export function orderPairs(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  declared?: readonly string[],
): { pairs: readonly TapPair[]; order: TapOrder } {
  if (declared !== undefined) {
    const byName = new Map(pairs.map((pair) => [pair.reference.name, pair]));
    const { names, order } = orderTaps([...byName.keys()], { declared, isExecution: false });
    return { pairs: names.map((name) => byName.get(name)!), order };
  }
  const [own, other] = [tapOrder(reference), tapOrder(tested)];
  if (isKnownOrder(own) || !isKnownOrder(other)) return { pairs, order: own };
  const places = new Map(tested.taps.map(({ name }, place) => [name, place]));
  const place = (pair: TapPair): number => places.get(pair.tested.name) ?? places.size;
  return { pairs: [...pairs].sort((a, b) => place(a) - place(b)), order: other };
}

/** What a verdict about what comes first must add: empty where the order is known. */
export function orderWords(order: TapOrder): string {
  return isKnownOrder(order) ? '' : ' by name (in which order values were computed is not known)';
}
