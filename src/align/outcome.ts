/** The logits, which both dumps name by role: they belong together whatever they hold. */
import type { Dump } from '../dump/reader.js';
import type { AlignedPair } from './align-dumps.js';
import type { Side } from './classes.js';
import { bestFit, type CallSizes } from './layouts.js';
import { readCall, type SideValue, sideValueOf } from './values.js';

/** No class: a value that elements cannot tell from others, such as one with NaN. */
export const NO_CLASS = -1;

/** Both sides, as far as values were found in them. */
interface Sides {
  reference: Side;
  tested: Side;
}

/**
 * Pairs of the reference's logits that content did not pair, with the tested program's; one for each name.
 */
export async function outcomePairs(
  reference: Dump,
  tested: Dump,
  sides: Sides,
  { pairs, sizes }: { pairs: readonly AlignedPair[]; sizes: CallSizes },
): Promise<AlignedPair[]> {
  const taken = new Set(pairs.map(({ reference: { tap } }) => tap.name));
  const names = reference.roles?.logits ?? [];
  if (names.some((name) => taken.has(name))) return [];
  const found: AlignedPair[] = [];
  const other = await logitsOf(tested, tested.roles?.logits?.[0], sides.tested);
  for (const name of names) {
    const own = await logitsOf(reference, name, sides.reference);
    const fit = own && other && bestFit(own.value, other.value, sizes, Number.POSITIVE_INFINITY);
    if (fit === undefined) continue;
    const ids = { reference: own!.id, tested: other!.id };
    const pair = { ...ids, quantiles: Number.NaN, fit, by: 'role' as const, next: undefined };
    found.push({ reference: own!.value, tested: other!.value, fit, pair });
  }
  return found;
}

async function logitsOf(
  dump: Dump,
  name: string | undefined,
  { classes }: Side,
): Promise<{ id: number; value: SideValue } | undefined> {
  const index = dump.taps.findIndex((tap) => tap.name === name);
  if (index < 0) return undefined;
  for (const { id, members } of classes) {
    const value = members.find((member) => member.index === index);
    if (value !== undefined) return { id, value };
  }
  const own = await readCall(dump, dump.taps[index]!, { step: 0, sequence: 0 });
  return own && { id: NO_CLASS, value: { ...sideValueOf(own), index } };
}

/**
 * Taps of the reference that have no partner, and after which nothing has one that agrees: they cannot be
 * taken for right by what follows from them, as a value that the other program does not have can be.
 */
export function lostTaps(
  { reference, tested }: Sides,
  pairs: readonly AlignedPair[],
  open: Iterable<number>,
): string[] {
  if (!reference.hasEdges || !tested.hasEdges) return [];
  const agreeing = pairs.filter(({ pair }) => pair.by === 'elements').map(({ pair }) => pair.reference);
  const right = new Set(agreeing);
  const waiting = [...right];
  while (waiting.length > 0)
    for (const parent of reference.classes[waiting.pop()!]!.parents)
      if (!right.has(parent)) {
        right.add(parent);
        waiting.push(parent);
      }
  return [...open]
    .filter((id) => !right.has(id) && !reference.classes[id]!.members[0]!.isExact)
    .map((id) => reference.classes[id]!.members[0]!.tap.name);
}
