/** Where an error lies along the axes of a value: heads, groups, channels, keys, experts. */
import { toFloat32 } from '../../../dump/float.js';
import type { TapInfo } from '../../../dump/format.js';
import type { TensorBatch } from '../../../dump/reader.js';
import { type Factor, factorsOf, product } from '../../causes/layout.js';
import { entryWords, HEAD_AXES, halfWords } from '../../causes/words.js';

/** Entries of one axis that are wrong while the others of it are right. */
export interface WrongEntries {
  /** Axis as the dump names it, or a part of one, e.g. `nk`; `expert` for the tokens of an expert,
   * `skip class` for those of the class that runs none. */
  axis: string;
  /** The first of them. */
  first: number;
  /** How many are wrong, and how many there are; of experts, how many the tokens chose. */
  count: number;
  size: number;
  /** The first ones, at most 8, ascending. */
  wrong: readonly number[];
  /** Of channels: true where they are wrong in each of several heads. */
  inEveryHead?: boolean;
}

/**
 * As for rows: an entry is wrong whose energy NMSE is above the limit and not below this share of the worst
 * one's.
 */
const LEAST_SHARE = 1e-4;
const LISTED = 8;
/** An axis of which more than this share is wrong says nothing. */
const MOST = 0.5;

/** Sizes of plain axes (`nq`, `d`), as the taps of a dump tell them. */
export function axisSizes(taps: readonly TapInfo[]): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const { axes, shape, scope } of taps) {
    const own = scope === 'token' ? axes.slice(1) : axes;
    for (const [index, axis] of own.entries()) {
      const size = shape[index];
      if (typeof size === 'number' && /^[A-Za-z]\w*$/.test(axis)) sizes.set(axis, size);
    }
  }
  return sizes;
}

interface Sums {
  error: Float64Array;
  size: Float64Array;
}

/** Errors of one value by entry of each axis, and by the expert of each token. */
export class EntryErrors {
  readonly #tap: TapInfo;
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #skip: number | undefined;
  readonly #axes = new Map<string, Sums>();
  #hasHeads = false;
  readonly #experts = new Map<number, { error: number; size: number; rows: number; wrong: number }>();

  /**
   * @param sizes of {@link axisSizes}.
   * @param skip the class of the router that runs no expert, where the model has one.
   */
  constructor(tap: TapInfo, sizes: ReadonlyMap<string, number>, skip?: number) {
    this.#tap = tap;
    this.#sizes = sizes;
    this.#skip = skip;
  }

  /**
   * Adds rows of both sides, of the same shape.
   * @param experts the choice of each row where it is known.
   */
  add(right: TensorBatch, other: TensorBatch, experts: ArrayLike<number> | undefined): void {
    const rows = right.shape[0]!;
    if (right.dtype === 'I32') {
      this.#addIndices(right.data as Int32Array, other.data as Int32Array);
      return;
    }
    const [a, b] = [toFloat32(right.data, right.dtype), toFloat32(other.data, other.dtype)];
    const width = a.length / rows;
    const [error, size] = [new Float64Array(width), new Float64Array(width)];
    for (let row = 0; row < rows; row++) {
      let [rowError, rowSize] = [0, 0];
      for (let column = 0, k = row * width; column < width; column++, k++) {
        const difference = a[k]! - b[k]!;
        const own = Object.is(a[k], b[k]) ? 0 : Number.isFinite(difference) ? difference * difference : 1e200;
        const energy = Number.isFinite(a[k]!) ? a[k]! ** 2 : 0;
        error[column]! += own;
        size[column]! += energy;
        rowError += own;
        rowSize += energy;
      }
      if (experts?.length === rows) this.#addExpert(experts[row]!, rowError, rowSize);
    }
    const factors = this.#factors(right.shape);
    this.#hasHeads = factors.findIndex(({ name }) => name === HEAD_AXES.channels) > 0;
    for (const [at, factor] of factors.entries()) {
      const inner = product(factors.slice(at + 1));
      const sums = this.#sums(factor);
      for (let column = 0; column < width; column++) {
        const entry = Math.floor(column / inner) % factor.size;
        sums.error[entry]! += error[column]!;
        sums.size[entry]! += size[column]!;
      }
    }
  }

  /**
   * The axes of which a part is wrong and the rest is not. @param limit energy NMSE up to which an entry is
   * right.
   */
  wrong(limit: number): WrongEntries[] {
    const found: WrongEntries[] = [];
    for (const [axis, { error, size }] of this.#axes) {
      const nmse = Array.from(error, (own, entry) => ratio(own, size[entry]!));
      const entries = wrongOnes(nmse, limit);
      if (!isPart(entries.length, nmse.length)) continue;
      const part = told(axis, entries, nmse.length);
      // axes come slowest first: heads before their channels
      const inEveryHead = this.#hasHeads && found.length === 0;
      found.push(axis === HEAD_AXES.channels ? { ...part, inEveryHead } : part);
    }
    const experts = [...this.#experts].sort(([a], [b]) => a - b);
    const bad = experts.filter(([, { wrong }]) => wrong > 0);
    // Single tokens say nothing of their expert: nearly all of its tokens must be wrong.
    const whole =
      bad.every(([, { wrong, rows }]) => wrong >= 0.9 * rows) && bad.some(([, { rows }]) => rows > 1);
    if (whole && isPart(bad.length, experts.length))
      found.push(
        told(
          bad.length === 1 && bad[0]![0] === this.#skip ? 'skip class' : 'expert',
          bad.map(([expert]) => expert),
          experts.length,
        ),
      );
    return found;
  }

  #addIndices(right: Int32Array, other: Int32Array): void {
    for (const [row, own] of right.entries()) this.#addExpert(own, Number(own !== other[row]), 1);
  }

  #addExpert(expert: number, error: number, size: number): void {
    const sums = this.#experts.get(expert) ?? { error: 0, size: 0, rows: 0, wrong: 0 };
    sums.error += error;
    sums.size += size;
    sums.rows++;
    // A row right up to sums in another order.
    if (ratio(error, size) > 1e-11) sums.wrong++;
    this.#experts.set(expert, sums);
  }

  #factors(shape: readonly number[]): Factor[] {
    const { axes, scope } = this.#tap;
    const own = scope === 'token' ? axes.slice(1) : axes;
    const sizes = shape.slice(1);
    return factorsOf(own, (axis) => this.#sizes.get(axis), sizes).filter(({ size }) => size > 1);
  }

  #sums({ name, size }: Factor): Sums {
    const known = this.#axes.get(name);
    if (known !== undefined && known.error.length >= size) return known;
    // Keys grow with the positions seen.
    const sums = { error: new Float64Array(size), size: new Float64Array(size) };
    sums.error.set(known?.error ?? []);
    sums.size.set(known?.size ?? []);
    this.#axes.set(name, sums);
    return sums;
  }
}

function wrongOnes(nmse: readonly number[], limit: number): number[] {
  const least = Math.max(limit, LEAST_SHARE * Math.min(1, Math.max(0, ...nmse)));
  return nmse.flatMap((error, entry) => (error > least ? [entry] : []));
}

function isPart(count: number, size: number): boolean {
  return count > 0 && count < size && count <= Math.max(1, MOST * size);
}

function told(axis: string, entries: readonly number[], size: number): WrongEntries {
  return { axis, first: entries[0]!, count: entries.length, size, wrong: entries.slice(0, LISTED) };
}

function ratio(error: number, size: number): number {
  return error === 0 ? 0 : size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

/**
 * E.g. ` Only KV head 1 of 2 is wrong.`; '' where no axis says anything. @param block of which it is said,
 * where others differ.
 */
export function entriesWords(within: readonly WrongEntries[], block?: number | null): string {
  if (within.length === 0) return '';
  const parts = within.map((part) => (part.axis === '2' ? halfOf(part, within) : words(part)));
  const isOne = within.length === 1 && within[0]!.count === 1;
  const isTokens = ['expert', 'skip class'].includes(within.at(-1)!.axis);
  const only = block === undefined || block === null ? 'Only' : `In block ${block} only`;
  return ` ${only} ${parts.join(' and ')} ${isOne && !isTokens ? 'is' : 'are'} wrong.`;
}

/** Of an axis that joins two halves: `2F` are gate and up. */
function halfOf({ first }: WrongEntries, within: readonly WrongEntries[]): string {
  const [, other] = within;
  const names = halfWords(other?.axis ?? '')?.split(' and ') ?? ['first', 'second'];
  return `the ${names[first]} half`;
}

function words({ axis, first, count, size, wrong, inEveryHead }: WrongEntries): string {
  const isRange = wrong.every((entry, index) => entry === first + index);
  const list =
    isRange && count > 2
      ? `${first}–${first + count - 1}`
      : `${wrong.join(', ')}${count > wrong.length ? ', …' : ''}`;
  if (axis === 'skip class') return `tokens of the skip class (${first}, which runs no expert)`;
  if (axis === 'expert')
    return `tokens of ${count === 1 ? `expert ${first}` : `experts ${list}`} (of ${size} that are chosen)`;
  return `${entryWords(axis, count)} ${list} of ${size}${inEveryHead === true ? ' in every head' : ''}`;
}
