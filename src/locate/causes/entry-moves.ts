/** Finds entries of a value (tokens, heads, columns) that have the value of another entry, or none. */
import { type Factor, product, type Values } from './layout.js';

/** One axis of a value, or its columns: all axes after that of tokens as one. */
export interface EntryAxis {
  name: string;
  size: number;
  /** Elements between neighbouring entries. */
  inner: number;
}

/** Name of all axes after that of tokens, taken as one. */
export const COLUMNS = 'columns';

/** Entries that are wrong. */
export interface EntryMoves {
  wrong: readonly number[];
  /** By wrong entry the one whose value it has, where each has one. */
  from: ReadonlyMap<number, number> | undefined;
  /** They are all 0. */
  areZero: boolean;
}

/** Entries of an axis beyond which none is looked at. */
const MOST = 2 ** 17;
/** Neighbours in the order of sums that are compared in full. */
const NEAR = 3;

/** The axes of a value along which entries may be moved. @param factors slowest first. */
export function entriesOf(factors: readonly Factor[]): EntryAxis[] {
  const axes = factors.map(({ name, size }, at) => ({ name, size, inner: product(factors.slice(at + 1)) }));
  const rest = factors.slice(1);
  const columns = rest.length > 1 ? [{ name: COLUMNS, size: product(rest), inner: 1 }] : [];
  return [...axes, ...columns].filter(({ size }) => size > 1 && size <= MOST);
}

/**
 * The entries of an axis that are wrong; undefined where none is, or where all are and no two are exchanged.
 * @param limit energy NMSE of the whole value up to which it is right.
 */
export function movesOf(
  axis: EntryAxis,
  right: Float32Array,
  tested: Float32Array,
  limit: number,
): EntryMoves | undefined {
  const { size } = axis;
  const error = new Float64Array(size);
  let energy = 0;
  for (const [k, value] of right.entries()) {
    error[entryAt(k, axis)]! += (value - tested[k]!) ** 2;
    energy += value ** 2;
  }
  const least = limit * energy;
  const wrong = [...error.keys()].filter((entry) => !(error[entry]! <= least));
  if (wrong.length === 0) return undefined;
  const from = sources(axis, right, tested, wrong, least);
  const areZero =
    wrong.length < size && wrong.every((entry) => elements(axis, tested, entry).every((x) => x === 0));
  return from === undefined && wrong.length === size ? undefined : { wrong, from, areZero };
}

/** By wrong entry the one of `right` whose values it has; undefined where one has none. */
function sources(
  axis: EntryAxis,
  right: Float32Array,
  tested: Float32Array,
  wrong: readonly number[],
  least: number,
): ReadonlyMap<number, number> | undefined {
  // A sum with weights of its own tells entries apart; those of nearly the same sum are compared in full.
  const sums = weightedSums(axis, right);
  const theirs = weightedSums(axis, tested);
  const order = [...sums.keys()].sort((a, b) => sums[a]! - sums[b]!);
  const from = new Map<number, number>();
  for (const entry of wrong) {
    const own = elements(axis, tested, entry);
    const at = place(order, sums, theirs[entry]!);
    let best: { source: number; error: number } | undefined;
    for (const source of order.slice(Math.max(0, at - NEAR), at + NEAR)) {
      const error = distance(elements(axis, right, source), own);
      if (error <= least && error < (best?.error ?? Number.POSITIVE_INFINITY)) best = { source, error };
    }
    if (best === undefined || best.source === entry) return undefined;
    from.set(entry, best.source);
  }
  return from;
}

function entryAt(k: number, { size, inner }: EntryAxis): number {
  return Math.floor(k / inner) % size;
}

function elements({ size, inner }: EntryAxis, values: Float32Array, entry: number): Float32Array {
  const outer = values.length / (size * inner);
  const found = new Float32Array(outer * inner);
  for (let k = 0; k < outer; k++) {
    const start = (k * size + entry) * inner;
    found.set(values.subarray(start, start + inner), k * inner);
  }
  return found;
}

function weightedSums(axis: EntryAxis, values: Float32Array): Float64Array {
  const { size, inner } = axis;
  const sums = new Float64Array(size);
  for (const [k, value] of values.entries()) {
    const place = Math.floor(k / (size * inner)) * inner + (k % inner);
    sums[entryAt(k, axis)]! += value * Math.sin(1 + place * 0.7548776662466927 * Math.PI);
  }
  return sums;
}

/** First place in the order whose sum is not below `sum`. */
function place(order: readonly number[], sums: Float64Array, sum: number): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[order[middle]!]! < sum) low = middle + 1;
    else high = middle;
  }
  return low;
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (const [k, value] of a.entries()) sum += (value - b[k]!) ** 2;
  return sum;
}

/** Values in which entries have those of others. */
export function placedFrom<T extends Values>(
  values: T,
  { size, inner }: EntryAxis,
  from: ReadonlyMap<number, number>,
): T {
  const out = values.slice() as T;
  for (let start = 0; start < values.length; start += size * inner)
    for (const [entry, source] of from) {
      const at = start + source * inner;
      out.set(values.subarray(at, at + inner) as never, start + entry * inner);
    }
  return out;
}

/** Values in which entries are 0. */
export function zeroed<T extends Values>(
  values: T,
  { size, inner }: EntryAxis,
  entries: readonly number[],
): T {
  const out = values.slice() as T;
  for (let start = 0; start < values.length; start += size * inner)
    for (const entry of entries) out.fill(0, start + entry * inner, start + (entry + 1) * inner);
  return out;
}
