/** Plain double-precision implementations of the products, convolutions and the rotary embedding. */
import type { Dtype } from '../../src/dtype.js';
import { roundActivations } from './activation-rounding.js';
import { at, build, map, type NdArray, positionOf } from './nd-array.js';
import { toF16 } from './rounding.js';

/**
 * `b · aᵀ` over leading axes, those of `b` being multiples of those of `a`. `b` is rounded as ggml's CPU
 * backend does for a matrix of `dtype`.
 */
export function mulMat(a: NdArray, b: NdArray, dtype: Dtype): NdArray {
  const rank = Math.max(a.shape.length, b.shape.length);
  const [left, right] = [padded(a, rank), padded(roundActivations(dtype, b), rank)];
  const lead = rank - 2;
  const shape = [...right.shape.slice(0, -1), left.shape[lead]!];
  const wide = build(shape, (index) => {
    const matrices = index.slice(0, lead);
    const shared = matrices.map((i, axis) => Math.floor((i * left.shape[axis]!) / right.shape[axis]!));
    const row = positionOf(left.shape, [...shared, index[rank - 1]!, 0]);
    const column = positionOf(right.shape, [...matrices, index[lead]!, 0]);
    let sum = 0;
    for (let i = 0; i < right.shape[rank - 1]!; i++) sum += left.data[row + i]! * right.data[column + i]!;
    return sum;
  });
  return b.shape.length === 1 ? { ...wide, shape: shape.slice(-1) } : wide;
}

function padded({ shape, data }: NdArray, rank: number): NdArray {
  return { shape: [...new Array<number>(rank - shape.length).fill(1), ...shape], data };
}

export function mulMatId(experts: NdArray, b: NdArray, ids: NdArray, dtype: Dtype): NdArray {
  const rounded = roundActivations(dtype, b);
  const [rows, width] = b.shape as [number, number];
  return build([rows, experts.shape[1]!], ([row, out]) => {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += at(experts, [at(ids, [row!]), out!, i]) * at(rounded, [row!, i]);
    return sum;
  });
}

export function im2col(kernel: NdArray, x: NdArray, dtype: 'F32' | 'F16'): NdArray {
  const [batch, channels, time] = x.shape as [number, number, number];
  const size = kernel.shape[2]!;
  const patches = build([batch, time - size + 1, channels * size], ([n, t, column]) =>
    at(x, [n!, Math.floor(column! / size), t! + (column! % size)]),
  );
  return dtype === 'F16' ? map(patches, toF16) : patches;
}

export function ssmConv(x: NdArray, kernel: NdArray): NdArray {
  const [batch, channels, time] = x.shape as [number, number, number];
  const size = kernel.shape[1]!;
  return build([batch, time - size + 1, channels], ([n, t, channel]) => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += at(x, [n!, channel!, t! + i]) * at(kernel, [channel!, i]);
    return sum;
  });
}

/**
 * Grouped one-dimensional convolution as `nn.Conv1d` defines it: `x` [time, channels], `weight` [out,
 * channels / groups, size].
 */
export function conv1d(x: NdArray, weight: NdArray, bias: NdArray, groups: number): NdArray {
  const [time] = x.shape as [number, number];
  const [out, width, size] = weight.shape as [number, number, number];
  return build([time - size + 1, out], ([t, channel]) => {
    const first = Math.floor(channel! / (out / groups)) * width;
    let sum = at(bias, [channel!]);
    for (let i = 0; i < width; i++)
      for (let tap = 0; tap < size; tap++)
        sum += at(weight, [channel!, i, tap]) * at(x, [t! + tap, first + i]);
    return sum;
  });
}

/**
 * Neox rotary embedding on the first `dims` of each head: pairs i and i + dims/2 turn by
 * `angle(position, i)`.
 */
export function rope(
  x: NdArray,
  positions: readonly number[],
  dims: number,
  angle: (position: number, pair: number) => number,
): NdArray {
  const half = dims / 2;
  return build(x.shape, ([token, head, dim]) => {
    if (dim! >= dims) return at(x, [token!, head!, dim!]);
    const pair = dim! % half;
    const turn = angle(positions[token!]!, pair);
    const first = at(x, [token!, head!, pair]);
    const second = at(x, [token!, head!, pair + half]);
    return dim! < half
      ? first * Math.cos(turn) - second * Math.sin(turn)
      : second * Math.cos(turn) + first * Math.sin(turn);
  });
}

/** The exact angle of a rotary embedding. */
export function ropeAngle(dims: number, base: number): (position: number, pair: number) => number {
  return (position, pair) => position * base ** ((-2 * pair) / dims);
}

/**
 * Soft-max attention with grouped queries: `query` [T, nq, d], `key` and `value` [S, nk, d], `mask` [T, S];
 * gives the probabilities [nq, T, S] and the context [T, nq · d].
 */
export function attention(
  query: NdArray,
  key: NdArray,
  value: NdArray,
  mask: NdArray,
  factor: number,
): { weights: NdArray; context: NdArray } {
  const [tokens, heads, dims] = query.shape as [number, number, number];
  const [span, groups] = key.shape as [number, number, number];
  const kv = (head: number) => Math.floor((head * groups) / heads);
  const scores = build([heads, tokens, span], ([head, t, s]) => {
    let sum = 0;
    for (let d = 0; d < dims; d++) sum += at(query, [t!, head!, d]) * at(key, [s!, kv(head!), d]);
    return sum * factor + at(mask, [t!, s!]);
  });
  const weights = build(scores.shape, ([head, t, s]) => {
    const row = Array.from({ length: span }, (_, i) => at(scores, [head!, t!, i]));
    const largest = Math.max(...row);
    const sum = row.reduce((total, score) => total + Math.exp(score - largest), 0);
    return Math.exp(row[s!]! - largest) / sum;
  });
  const context = build([tokens, heads * dims], ([t, column]) => {
    const head = Math.floor(column! / dims);
    let sum = 0;
    for (let s = 0; s < span; s++)
      sum += at(weights, [head, t!, s]) * at(value, [s, kv(head), column! % dims]);
    return sum;
  });
  return { weights, context };
}
