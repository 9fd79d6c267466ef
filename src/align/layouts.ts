/**
 * The layouts that are tried: axes in another order, heads split, merged and interleaved, padding and states
 * cut.
 */
import { toFloat32 } from '../dump/float.js';
import { fitShape, planLayout, squeezed, type Transform } from '../dump/import/layout.js';
import { differingRows, elementDistance, middleError } from './distance.js';
import type { SideValue } from './values.js';

/** A layout and how well the values agree in it. */
export interface Fit {
  layout: readonly Transform[];
  /** The tested side holds the first entries of the last axis only. */
  isPrefix: boolean;
  /** Squared differences over the reference's variance. */
  error: number;
  /**
   * The same of the middle token, and of indices the share of tokens that differ; infinite where rows are no
   * tokens.
   */
  middle: number;
}

/** Sizes of the call. */
export interface CallSizes {
  tokens: number;
  /** Positions that the last token sees. */
  visible: number;
}

/** An interleaving is looked for where sorted elements agree this far. */
const LIKE_SORTED = 0.1;
/** Sums of rows farther apart are those of other values. */
const OTHER_ROWS = 1;
/** Errors up to here are those of every token. */
const ROUNDING = 1e-9;
/** Entries of a head, at least. */
const LEAST_HEAD = 8;
/** A layout that leaves no more than this is not improved upon. */
const GOOD = 0.02;

/**
 * The layout in which `tested` agrees best with `reference`; undefined where none gives its shape.
 * @param isAlike true where the sorted elements of both agree: then interleavings are tried, too.
 */
export function bestFit(
  reference: SideValue,
  tested: SideValue,
  sizes: CallSizes,
  distance: number,
): Fit | undefined {
  const best = bestLayout(reference, tested, sizes, distance);
  if (best === undefined) return undefined;
  const target = targetOf(reference);
  return { ...best, middle: middleOf(reference, tested, best, sizes, target) };
}

type LayoutFit = Omit<Fit, 'middle'>;

function bestLayout(
  reference: SideValue,
  tested: SideValue,
  sizes: CallSizes,
  distance: number,
): LayoutFit | undefined {
  let best: LayoutFit | undefined;
  const target = targetOf(reference);
  const rowsAgree = likeRows(reference, tested);
  for (const layout of layouts(reference, tested, sizes)) {
    const [first] = layout;
    // Columns in another order leave the sum of each row as it is.
    if (!rowsAgree && layout.length === 1 && first?.op === 'permute' && first.axes[0] === 0) continue;
    const fit = fitOf(reference, tested, layout, sizes, target);
    if (fit !== undefined && (best === undefined || fit.error < best.error)) best = fit;
    if (best !== undefined && best.error <= GOOD) return best;
  }
  if (distance > LIKE_SORTED || !rowsAgree || tested.data.length !== reference.data.length) return best;
  for (const layout of [...interleavings(tested.shape.at(-1) ?? 1), ...regroupings(squeezed(tested.shape))]) {
    const fit = fitOf(reference, tested, layout, sizes, target);
    if (fit !== undefined && fit.error < (best?.error ?? Number.POSITIVE_INFINITY)) best = fit;
    if (best !== undefined && best.error <= GOOD) return best;
  }
  return best;
}

/** False where the sums of the rows say that no order of columns makes one the other. */
function likeRows(reference: SideValue, tested: SideValue): boolean {
  if (reference.tap.scope !== 'token' || tested.tap.scope !== 'token') return true;
  if (reference.data.length !== tested.data.length || reference.shape[0] !== tested.shape[0]) return true;
  return elementDistance(reference.rowSums, tested.rowSums) < OTHER_ROWS;
}

/** What a layout reads of a value. */
export type Elements = Pick<SideValue, 'tap' | 'shape' | 'data'>;

/** Error of two values in a layout; undefined where shapes do not fit. */
export function errorIn(
  reference: Elements,
  tested: Elements,
  layout: readonly Transform[],
  sizes: CallSizes,
): number | undefined {
  const found = elementsOf(reference, tested, layout, sizes, targetOf(reference));
  return found && elementDistance(found.own, found.other);
}

/** How well the values agree in a layout; undefined where shapes do not fit. */
function fitOf(
  reference: SideValue,
  tested: SideValue,
  layout: readonly Transform[],
  sizes: CallSizes,
  target: Target,
): LayoutFit | undefined {
  const found = elementsOf(reference, tested, layout, sizes, target);
  return found && { layout, isPrefix: found.isPrefix, error: elementDistance(found.own, found.other) };
}

function middleOf(
  reference: SideValue,
  tested: SideValue,
  { layout, error }: LayoutFit,
  sizes: CallSizes,
  target: Target,
): number {
  if (target.lead === null) return Number.POSITIVE_INFINITY;
  if (error <= ROUNDING) return error;
  const { own, other } = elementsOf(reference, tested, layout, sizes, target)!;
  return (reference.isExact ? differingRows : middleError)(own, other, target.lead);
}

/** The elements that a layout puts side by side; undefined where shapes do not fit. */
function elementsOf(
  reference: Elements,
  tested: Elements,
  layout: readonly Transform[],
  { tokens, visible }: CallSizes,
  { shape, lead }: Target,
): { own: Float32Array; other: Float32Array; isPrefix: boolean } | undefined {
  const planned = tryPlan(tested, layout, { tokens, visible, target: shape });
  if (planned === undefined) return undefined;
  const isWhole = fitShape(planned.shape, shape, lead, false) !== undefined;
  const isPrefix = !isWhole && fitShape(planned.shape, shape, lead, true) !== undefined;
  if (!isWhole && !isPrefix) return undefined;
  const other = toFloat32(planned.apply(tested.data), 'F32');
  const own = isPrefix ? firstColumns(reference.data, shape.at(-1)!, planned.shape.at(-1)!) : reference.data;
  return own.length === other.length ? { own, other, isPrefix } : undefined;
}

/** Shape of a row, and the tokens where rows are tokens. */
interface Target {
  shape: readonly number[];
  lead: number | null;
}

function targetOf({ shape, tap }: Elements): Target {
  return tap.scope === 'token' ? { shape: shape.slice(1), lead: shape[0]! } : { shape, lead: null };
}

function tryPlan(
  { shape, tap }: Elements,
  layout: readonly Transform[],
  context: { tokens: number; visible: number; target: readonly number[] },
): ReturnType<typeof planLayout> | undefined {
  try {
    return planLayout(shape, layout, context, tap.name);
  } catch {
    return undefined; // it does not fit
  }
}

function firstColumns(data: Float32Array, all: number, some: number): Float32Array {
  const rows = data.length / all;
  const out = new Float32Array(rows * some);
  for (let row = 0; row < rows; row++) out.set(data.subarray(row * all, row * all + some), row * some);
  return out;
}

/** Axes in every order, the stored one first, and what is to be cut so that the number of elements fits. */
function* layouts(
  reference: SideValue,
  tested: SideValue,
  { tokens, visible }: CallSizes,
): Generator<readonly Transform[]> {
  const own = squeezed(tested.shape);
  if (own.length > 4) return;
  for (const axes of permutations(own.length)) {
    const isOwn = axes.every((axis, k) => axis === k);
    // Moving an axis of one entry changes nothing.
    if (
      !isOwn &&
      axes.filter((axis) => own[axis] !== 1).every((axis, k, kept) => k === 0 || kept[k - 1]! < axis)
    )
      continue;
    const moved = axes.map((axis) => own[axis]!);
    const first: Transform[] = isOwn ? [] : [{ op: 'permute', axes }];
    for (const cut of cuts(reference, moved, tokens, visible)) yield [...first, ...cut];
  }
}

/** Ways to cut a value of this shape down to the reference's number of elements. */
function* cuts(
  { data, tap, shape }: SideValue,
  moved: readonly number[],
  tokens: number,
  visible: number,
): Generator<readonly Transform[]> {
  const count = moved.reduce((product, size) => product * size, 1);
  const wanted = data.length;
  const [rows = 1, last = 1] = [moved[0], moved.at(-1)];
  if (count <= wanted) {
    yield [];
    return;
  }
  if (rows > tokens && (count / rows) * tokens === wanted) yield [{ op: 'lastTokens' }];
  if (tap.scope === 'step' && rows > tokens && (count / rows) * (rows - tokens) === wanted)
    yield [{ op: 'beforeTokens' }];
  if (last > visible && (count / last) * visible === wanted) yield [{ op: 'visible' }];
  const row = tap.scope === 'token' ? wanted / shape[0]! : wanted;
  if (last > row && (count / last) * row === wanted) {
    yield [{ op: 'firstColumns' }];
    yield [{ op: 'lastColumns' }];
  }
}

/** Rotations pair neighbours in one program and halves in the other: by head, over the whole axis too. */
function* interleavings(size: number): Generator<readonly Transform[]> {
  for (let head = 4; head <= size; head += 2) {
    if (size % head !== 0) continue;
    const split: Transform[] = head === size ? [] : [{ op: 'split', axis: -1, parts: size / head }];
    for (const op of ['deinterleave', 'interleave'] as const) yield [...split, { op, axis: -1, parts: 2 }];
  }
}

/**
 * Joined values, such as queries, keys and values: all heads of each one after the other in one program, all
 * of each head in the other.
 */
function* regroupings(shape: readonly number[]): Generator<readonly Transform[]> {
  const size = shape.at(-1) ?? 1;
  if (shape.length !== 2) return;
  for (const parts of [2, 3, 4])
    for (let heads = 2; heads * parts * LEAST_HEAD <= size; heads++) {
      if (size % (heads * parts) !== 0) continue;
      for (const [outer, inner] of heads === parts
        ? [[parts, heads]]
        : [
            [parts, heads],
            [heads, parts],
          ])
        yield [
          { op: 'split', axis: -1, parts: outer! },
          { op: 'split', axis: -1, parts: inner! },
          { op: 'permute', axes: [0, 2, 1, 3] },
        ];
    }
}

function* permutations(count: number, taken: readonly number[] = []): Generator<number[]> {
  if (taken.length === count) yield [...taken];
  for (let axis = 0; axis < count; axis++)
    if (!taken.includes(axis)) yield* permutations(count, [...taken, axis]);
}
