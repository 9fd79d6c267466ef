/**
 * ggml's dot product of two F16 rows where the processor adds in F16 (`ggml_vec_dot_f16`, `simd-mappings.h`).
 */

/**
 * `avx512`: four sums of 32 lanes, all of it in F16. `neon`: four of 8 lanes, whose last 8 numbers are added
 * in F32.
 */
export type HalfForm = 'avx512' | 'neon';

const LANES: Readonly<Record<HalfForm, number>> = { avx512: 32, neon: 8 };
const ACCUMULATORS = 4;

/**
 * F32: what ggml gives for two rows of F16 values. What is left over by whole steps of all lanes is added in
 * double precision.
 */
export function halfDot(x: Float64Array, y: Float64Array, form: HalfForm): number {
  const lanes = LANES[form];
  const step = ACCUMULATORS * lanes;
  const whole = x.length - (x.length % step);
  const sums = new Float64Array(step);
  for (let k = 0; k < whole; k++) sums[k % step] = toHalf(sums[k % step]! + x[k]! * y[k]!);
  const addHalves = (size: number) => {
    for (let k = 0; k < size / 2; k++) sums[k] = toHalf(sums[k]! + sums[size / 2 + k]!);
  };
  const last = form === 'avx512' ? 1 : lanes;
  for (let size = step; size > last; size /= 2) addHalves(size);
  let sum = sums[0]!;
  if (form === 'neon') {
    const four = [0, 1, 2, 3].map((k) => Math.fround(sums[k]! + sums[k + 4]!));
    sum = Math.fround(Math.fround(four[0]! + four[1]!) + Math.fround(four[2]! + four[3]!));
  }
  for (let k = whole; k < x.length; k++) sum += Math.fround(x[k]! * y[k]!);
  return Math.fround(sum);
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);
/** Adding it rounds a double to an integer, halves to even. */
const INTEGER = 1.5 * 2 ** 52;
const LARGEST = 65504;

/** The nearest F16 value, ties to even; beyond 65504 and half a step infinity. */
export function toHalf(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  single[0] = Math.abs(value);
  const exponent = Math.max(-14, ((bits[0]! >>> 23) & 255) - 127);
  const unit = 2 ** (exponent - 10);
  const rounded = (value / unit + INTEGER - INTEGER) * unit;
  return Math.abs(rounded) > LARGEST ? Math.sign(value) * Number.POSITIVE_INFINITY : rounded;
}
