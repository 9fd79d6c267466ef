/** Products, convolutions and the rotary embedding, in double precision. */
import { elementCount, toNe } from './shape.js';
import type { Tensor } from './tensor.js';

/**
 * See `mulMat` of `ops-products.ts`; operands and result in the order of the axes, as for all functions here.
 */
export function mulMat({ sources, shape }: Tensor, [a, b]: Float64Array[]): Float64Array {
  const [k, m, a2, a3] = toNe(sources[0]!.shape) as [number, number, number, number];
  const [, n, b2, b3] = toNe(sources[1]!.shape) as [number, number, number, number];
  const out = new Float64Array(elementCount(shape));
  let at = 0;
  for (let i3 = 0; i3 < b3; i3++)
    for (let i2 = 0; i2 < b2; i2++) {
      const matrix = (Math.floor((i3 * a3) / b3) * a2 + Math.floor((i2 * a2) / b2)) * m * k;
      for (let column = 0; column < n; column++) {
        const right = ((i3 * b2 + i2) * n + column) * k;
        for (let row = 0; row < m; row++) out[at++] = dot(a!, matrix + row * k, b!, right, k);
      }
    }
  return out;
}

/** See `mulMatId`. */
export function mulMatId({ sources, shape }: Tensor, [experts, b, ids]: Float64Array[]): Float64Array {
  const [, m, k] = sources[0]!.shape as [number, number, number];
  const idsPerRow = (ids!.length * k) / b!.length;
  const out = new Float64Array(elementCount(shape));
  for (const [line, id] of ids!.entries())
    for (let row = 0; row < m; row++)
      out[line * m + row] = dot(experts!, (id * m + row) * k, b!, Math.floor(line / idsPerRow) * k, k);
  return out;
}

function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += a[aAt + i]! * b[bAt + i]!;
  return sum;
}

/** See `im2col`. */
export function im2col({ sources, shape }: Tensor, [, x]: Float64Array[]): Float64Array {
  const size = sources[0]!.shape[2]!;
  const [, channels, time] = sources[1]!.shape as [number, number, number];
  const [batch, samples] = shape as [number, number, number];
  const out = new Float64Array(elementCount(shape));
  let at = 0;
  for (let line = 0; line < batch; line++)
    for (let sample = 0; sample < samples; sample++)
      for (let channel = 0; channel < channels; channel++)
        for (let tap = 0; tap < size; tap++)
          out[at++] = x![(line * channels + channel) * time + sample + tap]!;
  return out;
}

/** See `ssmConv`. */
export function ssmConv({ sources, shape }: Tensor, [x, kernel]: Float64Array[]): Float64Array {
  const time = sources[0]!.shape[2]!;
  const size = sources[1]!.shape[1]!;
  const [batch, samples, channels] = shape as [number, number, number];
  const out = new Float64Array(elementCount(shape));
  let at = 0;
  for (let line = 0; line < batch; line++)
    for (let sample = 0; sample < samples; sample++)
      for (let channel = 0; channel < channels; channel++)
        out[at++] = dot(kernel!, channel * size, x!, (line * channels + channel) * time + sample, size);
  return out;
}

/** See `rope`; the angles are `position · base^(−2i/dims)`, where ggml multiplies them up. */
export function rope({ shape, params }: Tensor, [x, positions]: Float64Array[]): Float64Array {
  const [, heads, headDim] = shape as [number, number, number];
  const dims = params[0]!;
  const [, , , base = 1, factor = 1] = params;
  const half = dims / 2;
  const out = x!.slice();
  for (const [token, position] of positions!.entries())
    for (let pair = 0; pair < half; pair++) {
      const angle = position * factor * base ** (-pair / half);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let head = 0; head < heads; head++) {
        const low = (token * heads + head) * headDim + pair;
        out[low] = x![low]! * cos - x![low + half]! * sin;
        out[low + half] = x![low]! * sin + x![low + half]! * cos;
      }
    }
  return out;
}
