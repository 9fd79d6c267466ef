/**
 * Tensors that hold what another should. Values say which tensor it is, so nothing of a value is wrong; the
 * names say that it stands in another block, or that its name holds something else in most blocks, or that
 * both programs' words for it contradict each other.
 */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { type Place, placeOf } from './by-names.js';
import type { WeightPair } from './pairing.js';
import { contradiction } from './role-words.js';

/** Blocks that must agree on what a name holds. */
const LEAST_BLOCKS = 2;
/** Blocks of one side that are one of the other, at most (half-layers: 2). */
const MOST_SLOPE = 4;

/** A tensor of the tested side, and the reference's tensors in it. */
interface Held {
  pair: WeightPair;
  own: Place | undefined;
  /** Name with the block's number left out, of each side. */
  key: string;
  parts: { name: string; place: Place | undefined }[];
  keys: string[];
}

/** @returns of each tensor in another's place, what is wrong with it. */
export function misplacedOnes(
  pairs: readonly WeightPair[],
  references: ReadonlyMap<string, TensorInfo>,
): Map<WeightPair, string> {
  const all = pairs.map(heldOf);
  const found = new Map<WeightPair, string[]>();
  const tell = (pair: WeightPair, words: string) => found.set(pair, [...(found.get(pair) ?? []), words]);
  const { numbering, isByBlock } = numberingOf(all);
  for (const held of all) {
    const other = held.parts.find((part) => isElsewhere(held, part, { numbering, all, references }));
    if (other !== undefined)
      tell(held.pair, `stands in block ${held.own!.number} and holds ${other.name}, of another block`);
    const words = contradiction(held.key, held.keys);
    if (words !== undefined)
      tell(held.pair, `is called ${words[0]} and holds ${held.parts[0]!.name}, called ${words[1]}`);
  }
  // Halves of a block hold other things than each other under one name.
  for (const family of groups(isByBlock ? all : [], ({ own, key }) =>
    own === undefined ? undefined : key,
  ).values())
    for (const [{ pair, key }, usual] of oddOf(family, all))
      tell(pair, `in other blocks ${key.replace('{l}', '*')} holds ${usual}`);
  return new Map([...found].map(([pair, words]) => [pair, words.join('; ')]));
}

function heldOf(pair: WeightPair): Held {
  const own = placeOf(pair.tested.name);
  const names = [...new Set(pair.segments.map(({ reference }) => reference.name))];
  const parts = names.map((name) => ({ name, place: placeOf(name) }));
  const keys = [...new Set(parts.map(({ name, place }) => place?.key ?? name))];
  return { pair, own, key: own?.key ?? pair.tested.name, parts, keys };
}

/** Whether a block of the tested side is a block of the reference, of tensors with these names. */
type Numbering = (held: Pick<Held, 'own' | 'key'>, place: Place) => boolean;

/**
 * Blocks have the same number on both sides, unless all tensors say otherwise: counted from another number,
 * or several blocks of one side are one of the other (layouts of half-layers).
 */
function numberingOf(all: readonly Held[]): { numbering: Numbering; isByBlock: boolean } {
  const same: Numbering = ({ own }, { number }) => own?.number === number;
  const points = all.flatMap((held) =>
    held.own === undefined
      ? []
      : held.parts.flatMap(({ place }) => (place === undefined ? [] : [{ held, place }])),
  );
  if (2 * points.filter(({ held, place }) => same(held, place)).length >= points.length)
    return { numbering: same, isByBlock: true };
  if (new Set(points.map(({ held }) => held.own!.number)).size < LEAST_BLOCKS)
    return { numbering: same, isByBlock: true };
  const slopes = Array.from({ length: MOST_SLOPE }, (_, k) => k + 1);
  for (const [slope, back] of slopes.flatMap((each) => [[each, 1] as const, [1, each] as const])) {
    // Halves of a block have an offset each; blocks that are counted from another number have one.
    const family = ({ key }: Pick<Held, 'key'>, place: Place) =>
      slope === back ? '' : `${key}\n${place.key}`;
    const offset = ({ own }: Pick<Held, 'own'>, { number }: Place) => back * number - slope * own!.number;
    const offsets = new Map<string, number>();
    const isOne = points.every(({ held, place }) => {
      const [name, own] = [family(held, place), offset(held, place)];
      if (!offsets.has(name)) offsets.set(name, own);
      return offsets.get(name) === own;
    });
    const numbering: Numbering = (held, place) => offsets.get(family(held, place)) === offset(held, place);
    if (isOne) return { numbering, isByBlock: slope === back };
  }
  return { numbering: same, isByBlock: true };
}

/** True where a part is another block's. One that blocks share, and the reference holds once, is not. */
function isElsewhere(
  own: Held,
  { name, place }: Held['parts'][number],
  context: { numbering: Numbering; all: readonly Held[]; references: ReadonlyMap<string, TensorInfo> },
): boolean {
  const { numbering, all, references } = context;
  if (own.own === undefined || place === undefined || numbering(own, place)) return false;
  if (references.has(place.key.replace('{l}', String(own.own.number)))) return true;
  const isHeldRightly = all.some(
    (held) => held.key === own.key && numbering(held, place) && held.parts.some((part) => part.name === name),
  );
  return !isHeldRightly;
}

/**
 * Of one name, the blocks that hold something else than most, or, without a most, what another name holds.
 */
function oddOf(family: readonly Held[], all: readonly Held[]): [Held, string][] {
  const kinds = [...groups(family, contentOf).values()].sort((a, b) => b.length - a.length);
  const [most] = kinds as [Held[]];
  if (kinds.length < 2) return [];
  if (most.length >= LEAST_BLOCKS && 2 * most.length > family.length)
    return kinds.slice(1).flatMap((kind) => kind.map((held): [Held, string] => [held, wordsOf(most[0]!)]));
  const isCrossed = family.some(({ key, keys }) =>
    all.some((other) => other.key !== key && other.own !== undefined && String(other.keys) === String(keys)),
  );
  const names = [...groups(family, ({ keys }) => String(keys)).values()];
  if (!isCrossed || names.length < 2) return [];
  return names.flatMap((kind) => {
    const others = names.filter((each) => each !== kind).map(([first]) => wordsOf(first!));
    return kind.map((held): [Held, string] => [held, others.join(' or ')]);
  });
}

function wordsOf({ keys }: Held): string {
  return keys.join(', ');
}

/** What a name holds, with the block's number left out, and in which rows and order. */
function contentOf({ pair: { segments, turned, isReshaped, change } }: Held): string {
  const parts = segments.map(({ reference, first, count, order }) => [
    placeOf(reference.name)?.key ?? reference.name,
    first,
    count,
    order,
  ]);
  return JSON.stringify([parts, turned, isReshaped, change]);
}

function groups<T>(values: readonly T[], keyOf: (value: T) => string | undefined): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    if (key !== undefined) found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}
