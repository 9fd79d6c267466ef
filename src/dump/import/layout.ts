/**
 * Layout transforms: how a value of another program is brought into the axes of a tap. A closed set, because
 * every entry must be describable in a map's JSON file. All are planned on shapes first (so that a bad map
 * fails before anything is written), then applied.
 */
import { ZayascopeError } from '../../errors.js';
import { copyElements, emptyLike, type TapElements } from '../float.js';

/** One step of a layout. Shapes are slowest axis first; `axis` counts from the end (-1 is the fastest). */
export type Transform =
  /**
   * Reorders the axes: axis k of the result is axis `axes[k]`. The value is first brought to `axes.length`
   * axes by dropping or adding leading ones of size 1.
   */
  | { op: 'permute'; axes: readonly number[] }
  /**
   * Keeps the last T entries of the first axis, T being the tokens of the step: drops state that stands in
   * front of them.
   */
  | { op: 'lastTokens' }
  /** Keeps what stands in front of the last T entries of the first axis: the state, or lead rows. */
  | { op: 'beforeTokens' }
  /**
   * Keeps the first S entries of the last axis, S being the positions that the step's last token sees: drops
   * padding of a cache.
   */
  | { op: 'visible' }
  /**
   * Keeps the first, or the last, entries of the last axis: as many as the tap has. Needs a known tap shape.
   */
  | { op: 'firstColumns' }
  | { op: 'lastColumns' }
  /** Entry k of the result is entry `order[k]`: a permutation of heads, or a choice among them. */
  | { op: 'gather'; axis: number; order: readonly number[] }
  /** An axis that holds `parts` interleaved sequences, a0 b0 a1 b1, becomes a0 a1 .. b0 b1; and back. */
  | { op: 'deinterleave'; axis: number; parts: number }
  | { op: 'interleave'; axis: number; parts: number }
  /** An axis becomes two, of which the slower has `parts` entries: heads split. */
  | { op: 'split'; axis: number; parts: number };

/** Names of all transforms. */
export const TRANSFORMS: readonly Transform['op'][] = [
  'permute',
  'lastTokens',
  'beforeTokens',
  'visible',
  'firstColumns',
  'lastColumns',
  'gather',
  'deinterleave',
  'interleave',
  'split',
];

/** What a layout may depend on. */
export interface LayoutContext {
  /** Tokens of the step. */
  tokens: number;
  /** Positions up to the last token of the step, itself included. */
  visible: number;
  /**
   * Shape of the tap per row (scope `token`) or in all (scope `step`); null where sizes vary, undefined where
   * it is not known.
   */
  target: readonly (number | null)[] | undefined;
}

/** A layout resolved for one shape. */
export interface PlannedLayout {
  shape: readonly number[];
  /** Applies it to contiguous elements of the shape that it was planned for. */
  apply(data: TapElements): TapElements;
}

/**
 * Plans `layout` for a value of `shape`. Throws `SHAPE_MISMATCH` naming the transform that does not fit;
 * `where` names the value.
 */
export function planLayout(
  shape: readonly number[],
  layout: readonly Transform[],
  context: LayoutContext,
  where: string,
): PlannedLayout {
  let planned: PlannedLayout = { shape, apply: (data) => data };
  for (const transform of layout) {
    const before = planned;
    const next = planOne(before.shape, transform, context, where);
    planned = { shape: next.shape, apply: (data) => next.apply(before.apply(data)) };
  }
  return planned;
}

function planOne(
  shape: readonly number[],
  transform: Transform,
  { tokens, visible, target }: LayoutContext,
  where: string,
): PlannedLayout {
  const fail = (expected: string): never => {
    throw layoutError(`${transform.op}: expected ${expected}`, shape, where);
  };
  switch (transform.op) {
    case 'permute':
      return permute(
        withRank(shape, transform.axes.length) ?? fail(`${transform.axes.length} axes`),
        transform.axes,
      );
    case 'lastTokens':
    case 'beforeTokens': {
      const own = squeezed(shape);
      // A single row is still a row.
      const rows = own.length < 2 ? [...new Array<number>(2 - own.length).fill(1), ...own] : own;
      const lead = rows[0]! - tokens;
      if (lead < 0) fail(`at least ${tokens} rows`);
      if (transform.op === 'lastTokens') return take(rows, 0, range(lead, tokens));
      if (lead === 0) fail(`rows in front of the ${tokens} tokens`);
      return take(rows, 0, range(0, lead));
    }
    case 'visible': {
      const size = shape.at(-1) ?? 0;
      if (size < visible) fail(`at least ${visible} entries on the last axis`);
      return take(shape, shape.length - 1, range(0, visible));
    }
    case 'firstColumns':
    case 'lastColumns': {
      const own = shape.at(-1) ?? 0;
      // A tap of several axes, such as heads, may be flat in the other program.
      const wanted = target === undefined ? undefined : columnsOf(target, own);
      if (wanted === undefined) return fail('a known size of the tap (give the config)');
      return take(shape, shape.length - 1, range(transform.op === 'firstColumns' ? 0 : own - wanted, wanted));
    }
    case 'gather': {
      const axis = axisOf(shape, transform.axis) ?? fail(`an axis ${transform.axis}`);
      if (transform.order.some((entry) => entry >= shape[axis]!)) fail(`entries below ${shape[axis]}`);
      return take(shape, axis, transform.order);
    }
    case 'split': {
      const axis = axisOf(shape, transform.axis) ?? fail(`an axis ${transform.axis}`);
      if (shape[axis]! % transform.parts !== 0) fail(`a multiple of ${transform.parts} entries`);
      const split = [transform.parts, shape[axis]! / transform.parts];
      return { shape: [...shape.slice(0, axis), ...split, ...shape.slice(axis + 1)], apply: (data) => data };
    }
    case 'deinterleave':
    case 'interleave': {
      const axis = axisOf(shape, transform.axis) ?? fail(`an axis ${transform.axis}`);
      const size = shape[axis]!;
      if (size % transform.parts !== 0) fail(`a multiple of ${transform.parts} entries`);
      // Entry i * outer + j of the source goes where entry j * inner + i stands.
      const outer = transform.op === 'deinterleave' ? transform.parts : size / transform.parts;
      const inner = size / outer;
      return take(
        shape,
        axis,
        Array.from({ length: size }, (_, k) => (k % inner) * outer + Math.floor(k / inner)),
      );
    }
  }
}

/** Elements per row of the tap, if the value has more or as many. */
function columnsOf(target: readonly (number | null)[], own: number): number | undefined {
  const size = target.reduce<number>((product, axis) => product * (axis ?? Number.NaN), 1);
  return size <= own ? size : undefined;
}

/** Reorders axes. */
function permute(shape: readonly number[], axes: readonly number[]): PlannedLayout {
  const result = axes.map((axis) => shape[axis]!);
  const strides = stridesOf(shape);
  const steps = axes.map((axis) => strides[axis]!);
  return {
    shape: result,
    apply(data) {
      const out = emptyLike(data, data.length);
      const index = new Array<number>(result.length).fill(0);
      let from = 0;
      for (let at = 0; at < out.length; at++) {
        out[at] = data[from]!;
        for (let axis = result.length - 1; axis >= 0; axis--) {
          from += steps[axis]!;
          index[axis]!++;
          if (index[axis]! < result[axis]!) break;
          from -= steps[axis]! * result[axis]!;
          index[axis] = 0;
        }
      }
      return out;
    },
  };
}

/** Keeps entries of one axis, in the order given. */
function take(shape: readonly number[], axis: number, order: readonly number[]): PlannedLayout {
  const size = shape[axis] ?? 1;
  const inner = product(shape.slice(axis + 1));
  const outer = product(shape.slice(0, axis));
  return {
    shape: shape.map((own, k) => (k === axis ? order.length : own)),
    apply(data) {
      const out = emptyLike(data, outer * order.length * inner);
      if (inner === 1) {
        // Single elements: a view and a copy for each would take most of the time.
        const count = order.length;
        for (let block = 0; block < outer; block++)
          for (let k = 0; k < count; k++) out[block * count + k] = data[block * size + order[k]!]!;
        return out;
      }
      for (let block = 0; block < outer; block++)
        for (const [k, entry] of order.entries()) {
          const from = (block * size + entry) * inner;
          copyElements(out, data.subarray(from, from + inner), (block * order.length + k) * inner);
        }
      return out;
    },
  };
}

/**
 * The shape under which a value counts as one of a tap: leading axes of size 1 dropped or added, heads split
 * or merged; the elements keep their order.
 * @param expected the tap's shape without the token axis. @param prefix the value may hold fewer entries on
 * the last axis.
 * @returns undefined where it does not fit: a wrong number of elements, or axes in another order as far as
 * their sizes tell.
 */
export function fitShape(
  shape: readonly number[],
  expected: readonly (number | null)[],
  tokens: number | null,
  prefix: boolean,
): number[] | undefined {
  const lead = tokens === null ? [] : [tokens];
  const own = squeezed(shape);
  let want = [...lead, ...expected];
  if (want.includes(null)) {
    const sized = withRank(shape, want.length);
    return sized?.every((size, axis) => want[axis] === null || want[axis] === size) ? [...sized] : undefined;
  }
  const last = own.at(-1) ?? 1;
  if (prefix && expected.length > 0 && last < expected.at(-1)!) want = [...want.slice(0, -1), last];
  return regroups(own, want as number[], tokens) ? (want as number[]) : undefined;
}

/** The shape of a value whose tap is not known: with the token axis first if it has one, else undefined. */
export function guessTokenShape(shape: readonly number[], tokens: number): number[] | undefined {
  const own = squeezed(shape);
  if (tokens === 1) return [1, ...own];
  return own[0] === tokens ? own : undefined;
}

/** `shape` without leading axes of size 1. */
export function squeezed(shape: readonly number[]): number[] {
  const first = shape.findIndex((size) => size !== 1);
  return first < 0 ? [] : shape.slice(first);
}

/** True if one shape is the other with axes merged, the token axis never among them. */
function regroups(a: readonly number[], b: readonly number[], tokens: number | null): boolean {
  const [cutsA, cutsB] = [cuts(a), cuts(b)];
  const [few, many] = cutsA.size < cutsB.size ? [cutsA, cutsB] : [cutsB, cutsA];
  if (![...few].every((cut) => many.has(cut))) return false;
  return tokens === null || tokens === 1 || a[0] === tokens;
}

/** Products of the leading sizes: where axes begin and end. */
function cuts(shape: readonly number[]): Set<number> {
  let size = 1;
  return new Set([1, ...shape.map((axis) => (size *= axis))]);
}

function withRank(shape: readonly number[], rank: number): readonly number[] | undefined {
  const own = squeezed(shape);
  return own.length > rank ? undefined : [...new Array<number>(rank - own.length).fill(1), ...own];
}

function axisOf(shape: readonly number[], fromEnd: number): number | undefined {
  const axis = shape.length + fromEnd;
  return fromEnd < 0 && axis >= 0 ? axis : undefined;
}

function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => product(shape.slice(axis + 1)));
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}

function range(start: number, count: number): number[] {
  return Array.from({ length: count }, (_, k) => start + k);
}

function layoutError(what: string, shape: readonly number[], where: string): ZayascopeError {
  return new ZayascopeError('SHAPE_MISMATCH', `${what}, got [${shape.join(', ')}] (${where})`, {
    op: 'applyLayout',
    tensor: where,
    shapes: [shape],
  });
}
