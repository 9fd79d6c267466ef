/** Pairs the values of a reference dump with those of another program, by content and by the two graphs. */
import type { Dump } from '../dump/reader.js';
import { unmet } from '../errors.js';
import { classesOf, type Side } from './classes.js';
import { quantileDistance } from './distance.js';
import { readEdges } from './edges.js';
import { type FurtherCall, furtherCalls } from './further-calls.js';
import { bestFit, type CallSizes, type Fit } from './layouts.js';
import { type NonFiniteValue, nonFiniteValues } from './non-finite.js';
import { lostTaps, outcomePairs } from './outcome.js';
import type { ClassPair } from './pairing/candidate.js';
import { pairValues } from './pairing/pair-values.js';
import { readValues, type SideValue, type SideValues } from './values.js';

/** Options of `align`. */
export interface AlignOptions {
  /** Called with values read and values in all. */
  onProgress?: (done: number, total: number) => void;
}

/** Two values that belong together. */
export interface AlignedPair {
  reference: SideValue;
  tested: SideValue;
  fit: Fit;
  pair: ClassPair;
}

/** Both sides and what was found, before it is put into words. */
export interface Alignment {
  reference: Side;
  tested: Side;
  names: { reference: string; tested: string };
  pairs: AlignedPair[];
  /** The logits by their role, where content does not pair them. */
  outcome: AlignedPair[];
  /** What is not finite, whether it has a partner or not, in all calls. */
  nonFinite: { reference: NonFiniteValue[]; tested: NonFiniteValue[] };
  /** Taps of the reference without partner, of which nothing that follows says that they are right. */
  lost: string[];
  /** Reference classes without a partner, with the best candidates. */
  open: ReturnType<typeof pairValues>['open'];
  silent: { reference: SideValues['silent']; tested: SideValues['silent'] };
  sizes: CallSizes;
  /** Calls and sequences besides the first. */
  calls: FurtherCall[];
  /** Calls that only one side has, or of other tokens: not compared. */
  otherCalls: number;
  /** Pairs that lie otherwise in one of those, and are therefore no pairs. */
  moved: { pair: AlignedPair; call: FurtherCall }[];
}

/** @throws as `align`. */
export async function alignDumps(
  reference: Dump,
  tested: Dump,
  { onProgress = () => {} }: AlignOptions = {},
): Promise<Alignment> {
  const total = reference.taps.length + tested.taps.length;
  let done = 0;
  const onRead = () => onProgress(++done, total);
  const [a, b] = [await readValues(reference, onRead), await readValues(tested, onRead)];
  checkTokens(a, b, `${reference.dir} and ${tested.dir}`);
  const sides = {
    reference: classesOf(a, await readEdges(reference)),
    tested: classesOf(b, await readEdges(tested)),
  };
  const sizes = { tokens: a.tokens, visible: 1 + Math.max(...a.positions) };
  const found = pairValues(sides.reference, sides.tested, sizes);
  const { open } = found;
  const pairs = found.pairs
    .flatMap((pair) => membersOf(pair, sides, sizes))
    .sort((x, y) => x.reference.index - y.reference.index);
  const outcome = await outcomePairs(reference, tested, sides, { pairs, sizes });
  const { calls, others } = await furtherCalls(reference, tested, { pairs, tested: sides.tested });
  const moved = new Map(calls.flatMap((call) => call.moved.map((pair) => [pair, call] as const)));
  return {
    ...sides,
    names: { reference: reference.dir, tested: tested.dir },
    pairs: pairs.filter((pair) => !moved.has(pair)),
    outcome,
    nonFinite: { reference: await nonFiniteValues(reference), tested: await nonFiniteValues(tested) },
    lost: lostTaps(sides, pairs, open.keys()),
    calls,
    otherCalls: others,
    moved: [...moved].map(([pair, call]) => ({ pair, call })),
    open,
    silent: { reference: a.silent, tested: b.silent },
    sizes,
  };
}

/** Every value of the reference class, each in its own layout. */
function membersOf(
  pair: ClassPair,
  { reference, tested }: { reference: Side; tested: Side },
  sizes: CallSizes,
): AlignedPair[] {
  const sources = tested.classes[pair.tested]!.members;
  return reference.classes[pair.reference]!.members.flatMap((member) => {
    for (const source of sources) {
      const isFirst = member === reference.classes[pair.reference]!.members[0] && source === sources[0];
      const fit = isFirst
        ? pair.fit
        : bestFit(member, source, sizes, quantileDistance(member.quantiles, source.quantiles));
      if (fit !== undefined && fit.error <= Math.max(1e-9, 2 * pair.fit.error))
        return [{ reference: member, tested: source, fit, pair }];
    }
    return [];
  });
}

function checkTokens(a: SideValues, b: SideValues, where: string): void {
  const isSame = (x: Int32Array, y: Int32Array) =>
    x.length === y.length && x.every((value, k) => value === y[k]);
  const hasIds = ({ tokenIds }: SideValues) => tokenIds.some((id) => id !== 0);
  if (isSame(a.positions, b.positions) && (!hasIds(a) || !hasIds(b) || isSame(a.tokenIds, b.tokenIds)))
    return;
  throw unmet(
    'UNPAIRED',
    'align',
    'the same tokens in the first call of both',
    `${a.tokens} and ${b.tokens}${a.tokens === b.tokens ? ' others' : ''}`,
    { where },
  );
}
