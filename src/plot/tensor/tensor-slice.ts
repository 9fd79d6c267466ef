import { type TapElements, toFloat32, toFloat64 } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import { badArgument, ZayascopeError } from '../../errors.js';

/** A tensor to look at: what `Dump.read` gives, or plain numbers. */
export interface ViewedTensor {
  /** Axes slowest first; [] is a scalar. */
  readonly shape: readonly number[];
  /** Contiguous elements; F16 and BF16 as their bits where `dtype` says so. */
  readonly data: TapElements | readonly number[];
  /** Default: F32, or I32 for an Int32Array. */
  readonly dtype?: TapDtype;
  /** Where it comes from; its name is shown, and its axes' names where it has them. */
  readonly tap?: { readonly name: string; readonly axes?: readonly string[] };
}

/** Which part of a tensor is shown. */
export interface SliceOptions {
  /** Axis drawn downwards. Default: the last but one. Negative counts from the end. */
  rows?: number;
  /** Axis drawn to the right. Default: the last. */
  columns?: number;
  /**
   * Axis of which each entry is a facet of its own; null for none. Default: the last but two, if there is
   * one.
   */
  facets?: number | null;
  /** Index on each other axis. Default 0. */
  at?: Readonly<Record<number, number>>;
  /** Facets shown at most, the first ones; 1 or more. Default 8. */
  maxFacets?: number;
  /**
   * Cells per facet at most, downwards and to the right. Larger ones are pooled: a cell is the element of
   * largest magnitude in it. Default [128, 256].
   */
  maxCells?: readonly [number, number];
}

/** A slice of a tensor as a grid. */
export interface TensorGrid {
  /** Index on the facet axis; 0 without one. */
  facet: number;
  /** Cells, row by row; NaN and infinities as they are. */
  cells: number[][];
  /** Index of the element that each cell shows, on all axes of the tensor. */
  indices: number[][][];
}

/** A tensor cut into grids. */
export interface SlicedTensor {
  name: string;
  /** Axes shown, counted from the front: -1 where the tensor has none. */
  axes: { rows: number; columns: number; facets: number };
  grids: TensorGrid[];
  /** Elements that one cell stands for, downwards and to the right; 1 where nothing was pooled. */
  pooled: readonly [number, number];
  /** Facets that the axis has. */
  facetCount: number;
  /** NaNs and infinities among all elements of the shown facets. */
  nonFinite: number;
}

const OP = 'tensorView';

/**
 * Cuts a tensor into grids. Throws `BAD_ARGUMENT` for an axis or index that it does not have, an axis used
 * twice, an empty tensor, and a limit below 1; `SHAPE_MISMATCH` where shape and data differ in size.
 */
export function sliceTensor(tensor: ViewedTensor, options: SliceOptions = {}): SlicedTensor {
  const { shape } = tensor;
  const values = toNumbers(tensor);
  const name = tensor.tap?.name ?? 'tensor';
  const size = shape.reduce((a, b) => a * b, 1);
  if (values.length !== size)
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `${OP}: expected ${size} elements for [${shape.join(', ')}], got ${values.length} (${name})`,
      {
        op: OP,
        tensor: name,
        shapes: [shape],
      },
    );
  if (size === 0) fail('a tensor with elements', `[${shape.join(', ')}]`, name);
  const rank = shape.length;
  const axis = (asked: number): number => {
    const found = asked < 0 ? rank + asked : asked;
    if (!Number.isInteger(asked) || found < 0 || found >= rank)
      fail(`an axis of [${shape.join(', ')}]`, String(asked), name);
    return found;
  };
  const free = (axes: readonly number[]) =>
    Array.from({ length: rank }, (_, at) => at).filter((at) => !axes.includes(at));
  // What is asked for first, then the last of those that are left.
  const asked = [options.columns, options.rows, options.facets ?? undefined].map((each) =>
    each === undefined ? undefined : axis(each),
  );
  const left = free(asked.filter((each) => each !== undefined));
  const columns = asked[0] ?? left.pop() ?? -1;
  const rows = asked[1] ?? left.pop() ?? -1;
  const facets = options.facets === null ? -1 : (asked[2] ?? left.pop() ?? -1);
  const used = [columns, rows, facets].filter((at) => at >= 0);
  if (new Set(used).size !== used.length) fail('three different axes', used.join(', '), name);
  const fixed = new Map(free(used).map((at) => [at, 0]));
  for (const [key, index] of Object.entries(options.at ?? {})) {
    const at = axis(Number(key));
    if (!fixed.has(at)) fail('a position on an axis that is not shown', `axis ${key}`, name);
    if (!(Number.isInteger(index) && index >= 0 && index < shape[at]!))
      fail(`an index below ${shape[at]} on axis ${at}`, String(index), name);
    fixed.set(at, index);
  }
  const strides = shape.map((_, at) => shape.slice(at + 1).reduce((a, b) => a * b, 1));
  const base = [...fixed].reduce((sum, [at, index]) => sum + index * strides[at]!, 0);
  const length = (at: number) => (at < 0 ? 1 : shape[at]!);
  const step = (at: number) => (at < 0 ? 0 : strides[at]!);
  const [maxRows, maxColumns] = options.maxCells ?? [128, 256];
  const { maxFacets = 8 } = options;
  requireCounts(OP, name, { maxFacets, 'maxCells[0]': maxRows, 'maxCells[1]': maxColumns });
  const pooled = [Math.ceil(length(rows) / maxRows), Math.ceil(length(columns) / maxColumns)] as const;
  const grids: TensorGrid[] = [];
  let nonFinite = 0;
  for (let facet = 0; facet < Math.min(length(facets), maxFacets); facet++) {
    const cells: number[][] = [];
    const indices: number[][][] = [];
    for (let top = 0; top < length(rows); top += pooled[0]) {
      const line: number[] = [];
      const places: number[][] = [];
      for (let left = 0; left < length(columns); left += pooled[1]) {
        let best = -1;
        for (let row = top; row < Math.min(top + pooled[0], length(rows)); row++)
          for (let column = left; column < Math.min(left + pooled[1], length(columns)); column++) {
            const offset = base + facet * step(facets) + row * step(rows) + column * step(columns);
            if (!Number.isFinite(values[offset])) nonFinite++;
            if (best < 0 || stands(values[offset]!) > stands(values[best]!)) best = offset;
          }
        line.push(values[best]!);
        places.push(shape.map((count, at) => Math.floor(best / strides[at]!) % count));
      }
      cells.push(line);
      indices.push(places);
    }
    grids.push({ facet, cells, indices });
  }
  return { name, axes: { rows, columns, facets }, grids, pooled, facetCount: length(facets), nonFinite };
}

/** NaN and infinities stand out of a pool before everything else. */
function stands(value: number): number {
  return Number.isFinite(value) ? Math.abs(value) : Number.POSITIVE_INFINITY;
}

/** Elements as numbers, half precision widened. */
export function toNumbers({ data, dtype }: ViewedTensor): ArrayLike<number> {
  if (data instanceof Uint16Array) return toFloat32(data, dtype ?? 'F16');
  if (dtype === 'I64') return toFloat64(data as TapElements, dtype);
  if (data instanceof Uint8Array && dtype !== undefined) return toFloat32(data, dtype);
  return data;
}

/** Throws `BAD_ARGUMENT` for a limit that is no whole number of 1 or more. */
export function requireCounts(op: string, name: string, limits: Readonly<Record<string, number>>): void {
  for (const [option, value] of Object.entries(limits))
    if (!Number.isInteger(value) || value < 1)
      throw badArgument(op, `${option} to be 1 or more`, value, name);
}

function fail(expected: string, got: string, name: string): never {
  throw badArgument(OP, expected, got, name);
}
