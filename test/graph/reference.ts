/**
 * Plain double-precision implementations of the layout, arithmetic and row ops of the vocabulary: loops over
 * index tuples, no tricks.
 */
import { at, build, map, mapRows, type NdArray } from './nd-array.js';
import { toF16 } from './rounding.js';

export function reshape(x: NdArray, shape: readonly number[]): NdArray {
  return { shape, data: x.data };
}

export function slice(x: NdArray, axis: number, start: number, end: number): NdArray {
  const on = axis < 0 ? axis + x.shape.length : axis;
  const shape = x.shape.map((size, i) => (i === on ? end - start : size));
  return build(shape, (index) =>
    at(
      x,
      index.map((entry, i) => (i === on ? entry + start : entry)),
    ),
  );
}

export function permute(x: NdArray, order: readonly number[]): NdArray {
  const shape = order.map((axis) => x.shape[axis]!);
  return build(shape, (index) =>
    at(
      x,
      x.shape.map((_, axis) => index[order.indexOf(axis)]!),
    ),
  );
}

export function concat(a: NdArray, b: NdArray, axis: number): NdArray {
  const shape = a.shape.map((size, i) => (i === axis ? size + b.shape[i]! : size));
  return build(shape, (index) => {
    const beyond = index[axis]! - a.shape[axis]!;
    return beyond < 0
      ? at(a, index)
      : at(
          b,
          index.map((entry, i) => (i === axis ? beyond : entry)),
        );
  });
}

/**
 * The element of `x` that stands at `index` of a larger array, sizes of 1 spreading, aligned at the last
 * axis.
 */
function spread(x: NdArray, index: readonly number[]): number {
  const missing = index.length - x.shape.length;
  const own = x.shape.map((size, axis) => (size === 1 ? 0 : (index[axis + missing] ?? 0)));
  return at(x, own);
}

export function repeat(x: NdArray, shape: readonly number[]): NdArray {
  return build(shape, (index) => spread(x, index));
}

export function getRows(table: NdArray, ids: NdArray): NdArray {
  const width = table.shape[table.shape.length - 1]!;
  return build([...ids.shape, width], (index) => {
    const id = at(ids, index.slice(0, -1));
    return at(table, [...index.slice(0, -2), id, index[index.length - 1]!]);
  });
}

export function setRows(target: NdArray, rows: NdArray, ids: NdArray): NdArray {
  return build(target.shape, ([place, column]) => {
    const row = ids.data.indexOf(place!);
    return row < 0 ? at(target, [place!, column!]) : at(rows, [row, column!]);
  });
}

export function binary(a: NdArray, b: NdArray, combine: (a: number, b: number) => number): NdArray {
  return build(a.shape, (index) => combine(at(a, index), spread(b, index)));
}

export function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** The tanh form, read from a table whose argument and value are F16, as ggml does within ±10. */
export function geluByTable(x: number): number {
  if (x <= -10) return 0;
  if (x >= 10) return x;
  const rounded = toF16(x);
  const inner = Math.sqrt(2 / Math.PI) * rounded * (1 + 0.044715 * rounded * rounded);
  return toF16(Math.fround((rounded / 2) * (1 + Math.tanh(inner))));
}

export function geluErf(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2));
}

/**
 * Error function by the series of positive terms `2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`, in which
 * nothing cancels; beyond 6 it is ±1 to double precision.
 */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-20 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

export function swiglu(x: NdArray): NdArray {
  const width = x.shape[x.shape.length - 1]! / 2;
  return mapRows(x, (row) => Array.from({ length: width }, (_, i) => silu(row[i]!) * row[i + width]!));
}

function total(row: ArrayLike<number>): number {
  return Array.from(row).reduce((sum, value) => sum + value, 0);
}

export function sumRows(x: NdArray): NdArray {
  return mapRows(x, (row) => [total(row)]);
}

export function mean(x: NdArray): NdArray {
  return mapRows(x, (row) => [total(row) / row.length]);
}

export function rmsNorm(x: NdArray, eps: number): NdArray {
  return mapRows(x, (row) => {
    const root = Math.sqrt(total(row.map((value) => value * value)) / row.length + eps);
    return row.map((value) => value / root);
  });
}

export function l2Norm(x: NdArray, eps: number): NdArray {
  return mapRows(x, (row) => {
    const length = Math.sqrt(total(row.map((value) => value * value)));
    return row.map((value) => value / Math.max(length, eps));
  });
}

export function softMax(x: NdArray, factor: number, mask?: NdArray): NdArray {
  const scores = mask === undefined ? map(x, (v) => v * factor) : binary(x, mask, (v, m) => v * factor + m);
  return mapRows(scores, (row) => {
    const largest = Math.max(...row);
    const powers = row.map((value) => Math.exp(value - largest));
    const sum = total(powers);
    return powers.map((power) => power / sum);
  });
}

/** Index of the largest element of each row; of equals, the last. */
export function argmax(x: NdArray): NdArray {
  const rows = mapRows(x, (row) => [row.lastIndexOf(Math.max(...row))]);
  return { shape: x.shape.slice(0, -1), data: rows.data };
}

export function argsort(x: NdArray, order: 'ascending' | 'descending'): NdArray {
  const sign = order === 'ascending' ? 1 : -1;
  return mapRows(x, (row) => Array.from(row.keys()).sort((i, j) => sign * (row[i]! - row[j]!)));
}
