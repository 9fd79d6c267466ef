/** What is known of the order in which the taps of a report were computed. */
import type { DumpView } from '../dump/dump-view.js';
import type { TapOrder } from '../dump/format.js';
import type { TapPair } from './pairing.js';

/** True for orders that say which of two values was computed first. */
export function isKnownOrder(order: TapOrder): boolean {
  return order === 'execution' || order === 'declared';
}

/** The order of a dump's taps, as its manifest says. */
export function tapOrder({ manifest }: Pick<DumpView, 'manifest'>): TapOrder {
  return manifest.order ?? 'execution';
}

/** Pairs in the reference's order, or where only the tested side knows one in that. */
export function orderPairs(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
): { pairs: readonly TapPair[]; order: TapOrder } {
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
