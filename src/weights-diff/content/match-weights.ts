/** Finds which tensors of two models hold the same numbers, whatever their names. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { matchByNames, placeOf } from './by-names.js';
import { CHANGES, type Change, done } from './change.js';
import { matchRows } from './match-rows.js';
import { matchVectors } from './match-vectors.js';
import { matchWhole, nearestWhole } from './match-whole.js';
import type { WeightPair } from './pairing.js';
import { type Print, printOf } from './print.js';
import type { RawWeights } from './raw-weights.js';
import { MOST_ROWS, rowSizes, rowsOf, type TensorRows } from './row-index.js';

/** What holds what. */
export interface MatchedWeights {
  pairs: WeightPair[];
  /** Tensors of the tested side without partner, and the nearest of their size. */
  open: { tensor: TensorInfo; reason: string }[];
  /**
   * Tensors of the reference whose every element is the same: nothing tells them from others; and how many of
   * the tested side have the same size and number.
   */
  constants: { told: { name: string; value: number }[]; counted: number };
  /** By name, of tensors of the reference with the same values (a tied head): all of them. */
  same: ReadonlyMap<string, readonly TensorInfo[]>;
}

/** @param onRead called after each tensor that was read. @throws `IO`; `BACKEND` without the addon. */
export async function matchWeights(
  reference: RawWeights,
  tested: RawWeights,
  onRead: () => void,
): Promise<MatchedWeights> {
  const prints = async (side: RawWeights): Promise<Print[]> => {
    const found: Print[] = [];
    for (const tensor of side.tensors.values()) {
      found.push(await printOf(tensor));
      onRead();
    }
    return found;
  };
  const all = await prints(reference);
  const others = await prints(tested);
  const same = sameOnes(all);
  const isFirst = ({ tensor }: Print) => (same.get(tensor.name)?.[0] ?? tensor) === tensor;
  const references = all.filter((print) => print.constant === undefined && isFirst(print));
  const pairs: WeightPair[] = [];
  for (const print of others) {
    const pair = matchWhole(print, references);
    if (pair !== undefined) pairs.push(pair);
  }
  const rest = () => {
    const known = new Set(pairs.map((pair) => pair.tested));
    return others.filter(({ tensor, constant }) => constant === undefined && !known.has(tensor));
  };
  const used = new Set(pairs.flatMap(({ segments }) => segments.map((segment) => segment.reference)));
  const unused = references.map(({ tensor }) => tensor).filter((tensor) => !used.has(tensor));
  pairs.push(...(await pairRows(rest(), unused)));
  pairs.push(...(await pairRows(rest(), [...used])));
  pairs.push(...(await matchVectors(rest(), pairs, reference.tensors)));
  pairs.push(
    ...matchByNames(
      others.map(({ tensor }) => tensor).filter((tensor) => !pairs.some((pair) => pair.tested === tensor)),
      pairs,
      reference.tensors,
    ),
  );
  const constants = constantsOf(all, others);
  const paired = new Set([...pairs.map((pair) => pair.tested), ...constants.tested]);
  return {
    pairs: pairs.map((pair) => withOwn(pair, same)),
    open: others
      .filter(({ tensor }) => !paired.has(tensor))
      .map((print) => ({ tensor: print.tensor, reason: whyOpen(print, references) })),
    constants,
    same,
  };
}

/** Tensors whose rows are those of others, in three orientations. */
async function pairRows(tested: readonly Print[], references: readonly TensorInfo[]): Promise<WeightPair[]> {
  const found: WeightPair[] = [];
  const indexes = new Map<string, TensorRows[]>();
  const indexOf = async (turned: boolean, length: number): Promise<TensorRows[]> => {
    const key = `${turned} ${length}`;
    const known = indexes.get(key);
    if (known !== undefined) return known;
    const rows: TensorRows[] = [];
    const fitting = references.filter((tensor) => rowSizes(tensor, turned).length === length);
    const count = fitting.reduce((sum, tensor) => sum + rowSizes(tensor, turned).count, 0);
    for (const tensor of count <= MOST_ROWS ? fitting : []) {
      const own = await rowsOf(tensor, turned);
      if (own !== undefined) rows.push(own);
    }
    indexes.set(key, rows);
    return rows;
  };
  for (const { tensor } of tested)
    for (const turned of ['none', 'reference', 'tested'] as const) {
      const own = await rowsOf(tensor, turned === 'tested');
      if (own === undefined) continue;
      const index = await indexOf(turned === 'reference', rowSizes(tensor, turned === 'tested').length);
      const segments = index.length === 0 ? undefined : matchRows(own, index);
      if (segments === undefined) continue;
      found.push({ tested: tensor, segments, turned, isReshaped: false, change: 'none', by: 'content' });
      break;
    }
  return found;
}

/** Constants of both sides: each of the tested side is one of the reference's, as it is or changed. */
function constantsOf(
  references: readonly Print[],
  tested: readonly Print[],
): MatchedWeights['constants'] & { tested: TensorInfo[] } {
  const free = references.filter(({ constant }) => constant !== undefined);
  const told = free.map(({ tensor, constant }) => ({ name: tensor.name, value: constant! }));
  const found: TensorInfo[] = [];
  for (const { tensor, constant, count } of tested) {
    if (constant === undefined) continue;
    const isIt = (reference: Print, change: Change) =>
      reference.count === count && done(change, Float32Array.of(reference.constant!))[0] === constant;
    const at = CHANGES.flatMap((change) => free.findIndex((reference) => isIt(reference, change)));
    const own = at.find((index) => index >= 0);
    if (own === undefined) continue;
    free.splice(own, 1);
    found.push(tensor);
  }
  return { told, counted: found.length, tested: found };
}

/** Tensors of the same shape and samples, by each of their names. */
function sameOnes(prints: readonly Print[]): Map<string, TensorInfo[]> {
  const groups = new Map<string, TensorInfo[]>();
  for (const { tensor, flat, constant } of prints) {
    if (constant !== undefined) continue;
    const bytes = Buffer.from(flat.buffer, flat.byteOffset, flat.byteLength).toString('base64');
    const key = `${tensor.shape} ${bytes}`;
    groups.set(key, [...(groups.get(key) ?? []), tensor]);
  }
  const several = [...groups.values()].filter((group) => group.length > 1);
  return new Map(several.flatMap((group) => group.map((tensor) => [tensor.name, group] as const)));
}

/** Of tensors with the same values the one of the same block. */
function withOwn(pair: WeightPair, same: ReadonlyMap<string, readonly TensorInfo[]>): WeightPair {
  const block = placeOf(pair.tested.name)?.number;
  const segments = pair.segments.map((segment) => {
    const group = same.get(segment.reference.name) ?? [];
    const own = group.find(({ name }) => placeOf(name)?.number === block);
    return own === undefined ? segment : { ...segment, reference: own };
  });
  return { ...pair, segments };
}

function whyOpen(print: Print, references: readonly Print[]): string {
  if (print.constant !== undefined) return `is ${print.constant} throughout, which nothing tells from others`;
  const nearest = nearestWhole(print, references);
  if (nearest === undefined) return 'holds no rows that the reference has';
  return `holds no tensor that the reference has; the nearest of its size is ${nearest.name} (${nearest.error.toPrecision(2)})`;
}
