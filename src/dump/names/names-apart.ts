/** Two dumps of which hardly a tap has the other's name: a name map was forgotten. */
import type { DumpView } from '../dump-view.js';
import { bestMap } from './best-map.js';

/** Share of the smaller side's taps that must have a partner: fewer are the same name by chance. */
const LEAST = 0.1;

/**
 * Says that almost nothing pairs, and which map would pair more; null where enough does.
 *
 * @param paired names that both have, whether or not their values fit.
 * @param selects true for the names that are compared at all.
 */
export function namesApart(
  reference: DumpView,
  tested: DumpView,
  paired: readonly string[],
  selects: (name: string) => boolean,
): string | null {
  const theirs = reference.taps.map(({ name }) => name).filter(selects);
  const held = tested.taps.map(({ name }) => name).filter(selects);
  // An import that left out what its map does not know tells how it was called.
  const { dropped } = tested.manifest.producer;
  const own = [
    ...held,
    ...(Array.isArray(dropped) ? dropped.filter((name) => typeof name === 'string') : []),
  ];
  const partners = paired.length;
  const least = Math.min(theirs.length, own.length);
  // The same values of other blocks are a matter of selection, and not of names.
  const kinds = new Set(theirs.map(withoutBlock));
  const alike = own.filter((name) => kinds.has(withoutBlock(name))).length;
  if (least === 0 || Math.max(partners, alike) >= LEAST * least) return null;
  const only = partners === 1 ? `, ${paired[0]}` : '';
  const best = bestMap(own, theirs);
  const isKnown = best !== null && best.count > partners;
  const map = isKnown
    ? `--map ${best.map}, which knows ${best.count} of them`
    : '--map and a file of names (docs/import.md)';
  const advice = own.length > held.length ? `Import again with ${map}` : `Pass ${map}, or import with it`;
  return `The names do not pair: of ${own.length} values of the tested program (${own.find((name) => !theirs.includes(name)) ?? own[0]}, ..) ${partners === 0 ? 'none has' : `${partners} ${partners === 1 ? 'has' : 'have'}`} a partner among ${theirs.length} of the reference${only}. ${advice}.`;
}

function withoutBlock(name: string): string {
  return name.replace(/^layers\.\d+/, 'layers');
}
