/** The ways in which the sequences of a batch get into each other in one op, and the search among them. */
import type { Policy } from '../../../graph/policy.js';
import { errorOf } from '../compute.js';
import type { StructureInput } from '../explain.js';
import type { Factor } from '../layout.js';
import type { Budget } from '../search.js';
import { valueWords } from '../words.js';
import { asOneError, BatchOp, type BatchOrigin } from './batch-op.js';
import { type BatchSizes, type Mixing, mixedError, mixedValues, mixings } from './mixed.js';

/** Elements of a value of all sequences beyond which none is tried. */
const MOST_ELEMENTS = 2 ** 24;
/** Share of the error's energy that mixed sequences may leave, to be their cause. */
export const LEAVES = 1e-3;

/** Mixed in what the op makes. */
interface AtEnd {
  mixing: Mixing;
  isBeforeBias: boolean;
}

/** Mixed in what the op reads, or computes on the way of values that the dump lacks. */
interface Before {
  tap: string;
  mixing: Mixing;
  isRead: boolean;
}

/** How sequences are mixed in an op: at one place, or at two. */
export type Way = 'as one sequence' | { before?: Before; end?: AtEnd };

/** A way, and the op's error without it and with it. */
export interface FoundWay {
  way: Way;
  before: number;
  after: number;
}

/** What a way does, after the place in which it does. */
export function wayWords(way: Way, tap: string): string {
  if (way === 'as one sequence') return 'the first tokens of each read what the sequence before it has left';
  const { before, end } = way;
  const parts = [
    ...(before === undefined ? [] : [before.mixing.says]),
    ...(end === undefined
      ? []
      : [`${end.mixing.says}${end.isBeforeBias ? ', before the bias is added' : ''}`]),
  ];
  return parts.join(`; then in ${valueWords(tap)} `);
}

/**
 * The way that leaves least of an op's error: a thousandth at most. The simplest are tried first: all
 * sequences as one, then the op's own value, then each that it reads or computes on the way, then one of
 * those and its own.
 */
export async function wayOf(
  input: StructureInput,
  tap: string,
  limit: number,
  lengths: readonly number[],
  budget: Budget,
): Promise<FoundWay | undefined> {
  const origin: BatchOrigin = { input, policy: input.base, tap, lengths };
  using op = await BatchOp.open(origin);
  const own = await op?.values();
  if (op === undefined || own === undefined) return undefined;
  const before = errorOf(own, op.tested!, false);
  if (!(before > limit)) return undefined;
  const most = LEAVES * before;
  const asOne = await asOneError(origin);
  if (asOne <= most) return { way: 'as one sequence', before, after: asOne };
  const ended = bestEnd(op, await endsOf(op, own), most, allMixings(own, op.factors, lengths));
  if (ended !== undefined) return { way: { end: ended.end }, before, after: ended.after };
  return await wayBefore(origin, op, before, most, budget);
}

/** An op's value of all sequences, and what of it is added at the end. */
interface Ends {
  own: Float32Array;
  plain: Float32Array | undefined;
  added: Float32Array | undefined;
}

async function endsOf(
  op: BatchOp,
  own: Float32Array,
  replaced?: Parameters<BatchOp['values']>[0],
): Promise<Ends> {
  const plain = op.hasBias ? await op.values(replaced, true) : undefined;
  return { own, plain, added: plain === undefined ? undefined : own.map((value, k) => value - plain[k]!) };
}

function bestEnd(
  op: BatchOp,
  ends: Ends,
  most: number,
  all: Iterable<Mixing>,
): { end: AtEnd; after: number } | undefined {
  let best: { end: AtEnd; after: number } | undefined;
  for (const mixing of all)
    for (const isBeforeBias of ends.plain === undefined ? [false] : [false, true]) {
      const end = { mixing, isBeforeBias };
      const after = endError(op, ends, end, most);
      if (after <= most && after < (best?.after ?? Number.POSITIVE_INFINITY)) best = { end, after };
    }
  return best;
}

function endError(op: BatchOp, { own, plain, added }: Ends, end: AtEnd, most: number): number {
  return end.isBeforeBias
    ? mixedError(end.mixing, plain!, added, op.tested!, most)
    : mixedError(end.mixing, own, undefined, op.tested!, most);
}

/** Mixed before the op's end: by itself, then together with a mixing of the op's own value. */
async function wayBefore(
  origin: BatchOrigin,
  op: BatchOp,
  before: number,
  most: number,
  budget: Budget,
): Promise<FoundWay | undefined> {
  const { lengths } = origin;
  const places = [
    ...op.passed.map((tap) => ({ tap, isRead: false })),
    ...op.reads.map(({ tap }) => ({ tap, isRead: true })),
  ];
  let best: FoundWay | undefined;
  const take = (way: Way, after: number): void => {
    if (after <= most && after < (best?.after ?? Number.POSITIVE_INFINITY)) best = { way, before, after };
  };
  for (const { tap, isRead } of places) {
    using opened = await openedAt(origin, tap, isRead, op);
    if (opened === undefined) continue;
    const { right, factors, reader } = opened;
    const ends = simpleMixings(op.tested!, op.factors, lengths);
    const computed: { at: Before; replaced: { tap: string; values: Float32Array }; own: Float32Array }[] = [];
    for (const mixing of simpleMixings(right, factors, lengths)) {
      if (!budget.take()) return best;
      const replaced = { tap, values: mixedValues(mixing, right) };
      const own = await reader.values(replaced);
      if (own === undefined) continue;
      const at = { tap, mixing, isRead };
      take({ before: at }, errorOf(own, op.tested!, false));
      computed.push({ at, replaced, own });
    }
    if (best !== undefined) return best;
    for (const { at, replaced, own } of computed) {
      if (reader.hasBias && !budget.take()) return best;
      const found = bestEnd(op, await endsOf(reader, own, replaced), most, ends);
      if (found !== undefined) take({ before: at, end: found.end }, found.after);
    }
    if (best !== undefined) return best;
  }
  return best;
}

/** A value that is to be mixed, as it is right, and the op that reads it. */
interface Opened extends Disposable {
  right: Float32Array;
  factors: readonly Factor[];
  reader: BatchOp;
}

/** @param read the op itself, which reads the value where `isRead`: it stays open. */
async function openedAt(
  origin: BatchOrigin,
  tap: string,
  isRead: boolean,
  read: BatchOp,
): Promise<Opened | undefined> {
  if (isRead) {
    const found = read.reads.find((each) => each.tap === tap);
    if (found === undefined) return undefined;
    return { right: await read.read(tap), factors: found.factors, reader: read, [Symbol.dispose]() {} };
  }
  using inner = await BatchOp.open({ ...origin, tap }, false);
  const right = await inner?.values();
  if (inner === undefined || right === undefined) return undefined;
  const reader = await BatchOp.open({ ...origin, given: new Map([[tap, right]]) });
  if (reader === undefined || !reader.reads.some((each) => each.tap === tap)) {
    reader?.[Symbol.dispose]();
    return undefined;
  }
  return { right, factors: inner.factors, reader, [Symbol.dispose]: () => reader[Symbol.dispose]() };
}

/** The error of an op, under a policy, with sequences mixed so; undefined where it cannot be computed. */
export async function errorWith(
  input: StructureInput,
  policy: Policy,
  tap: string,
  lengths: readonly number[],
  way: Way,
): Promise<number | undefined> {
  const origin: BatchOrigin = { input, policy, tap, lengths };
  if (way === 'as one sequence') return asOneError(origin);
  using op = await BatchOp.open(origin);
  if (op === undefined) return undefined;
  const { before, end } = way;
  using opened =
    before === undefined
      ? undefined
      : await openedAt(origin, ofSameBlock(before.tap, tap), before.isRead, op);
  if (before !== undefined && opened === undefined) return undefined;
  const replaced =
    before === undefined
      ? undefined
      : { tap: ofSameBlock(before.tap, tap), values: mixedValues(before.mixing, opened!.right) };
  const own = await (opened?.reader ?? op).values(replaced);
  if (own === undefined) return undefined;
  if (end === undefined) return errorOf(own, op.tested!, false);
  const ends = await endsOf(opened?.reader ?? op, own, replaced);
  return endError(op, ends, end, Number.POSITIVE_INFINITY);
}

/** A value's name in the block of another. */
function ofSameBlock(tap: string, other: string): string {
  const block = /^layers\.\d+/.exec(other);
  return block === null ? tap : tap.replace(/^layers\.\d+/, block[0]);
}

/** Sequences of unequal length lie in no common order of axes. */
function sizesOf(
  { length }: Float32Array,
  factors: readonly Factor[],
  lengths: readonly number[],
): BatchSizes | undefined {
  const [tokens] = lengths as [number];
  if (length > MOST_ELEMENTS || lengths.some((each) => each !== tokens)) return undefined;
  const columns = length / (tokens * lengths.length);
  const heads = factors.length === 2 ? factors[0]!.size : 1;
  return { sequences: lengths.length, tokens, heads, channels: columns / heads };
}

/** All mixings of a value of all sequences. */
export function allMixings(
  values: Float32Array,
  factors: readonly Factor[],
  lengths: readonly number[],
): Iterable<Mixing> {
  const sizes = sizesOf(values, factors, lengths);
  return sizes === undefined ? [] : mixings(sizes);
}

/** Those of channels as one axis, and of each head by itself. */
function simpleMixings(
  values: Float32Array,
  factors: readonly Factor[],
  lengths: readonly number[],
): Mixing[] {
  return [...allMixings(values, factors, lengths)].filter(({ isSimple }) => isSimple);
}
