import { isQuantised, type TapDtype } from '../dump/dtypes.js';
import { SIMD_RANGE, type Simd, simd } from '../simd.js';
import type { Floats } from './kernels/sum-kernels.js';

/** Floating dtypes, from the coarsest. */
const COARSENESS = ['BF16', 'F16', 'F32', 'F64'] as const;
type FloatDtype = (typeof COARSENESS)[number];

/** Distances in units in the last place, between pairs that are finite on both sides. */
export interface UlpDistances {
  /**
   * The dtype whose units are counted: the coarser of the two sides'. Values of the finer side are rounded to
   * it (nearest even).
   */
  dtype: FloatDtype;
  /** Pairs counted; large tensors are sampled, see {@link UlpSums}. */
  elements: number;
  /**
   * Pairs by distance: 0, 1, 2, 3–4, 5–8, 9–16, ... (entry k > 1 is up to 2^(k−1)); without trailing zeros.
   * +0 and −0 are 0 apart.
   */
  histogram: number[];
  /** Share of pairs more than 1 apart; 0 where there is none. */
  shareOverOne: number;
}

/**
 * The coarser of two floating dtypes: the one with fewer significant bits. Quantised values are F32 once they
 * are decoded.
 */
export function coarserDtype(a: TapDtype, b: TapDtype): FloatDtype {
  const [x, y] = [a, b].map((dtype) => (isQuantised(dtype) ? 'F32' : dtype));
  return COARSENESS.find((dtype) => dtype === x || dtype === y) ?? 'F32';
}

/** Parts beyond this many elements are sampled: one range in {@link SAMPLING}, evenly spread. */
const EXACT_ELEMENTS = 2 ** 16;
const SAMPLING = 8;

/**
 * Accumulates {@link UlpDistances}. The first 2^16 elements of a tensor are counted all, of those that follow
 * every eighth range of 4096.
 */
export class UlpSums {
  readonly #dtype: FloatDtype;
  readonly #loops: Simd | null;
  readonly #histogram = new Float64Array(66);
  #seen = 0;

  /** @param loops SIMD loops to use; null for those in TypeScript. Default: SIMD where it is built. */
  constructor(dtype: FloatDtype, loops: Simd | null = simd()) {
    this.#dtype = dtype;
    this.#loops = loops;
  }

  /** Adds a part, both sides widened to F32, or to F64 where a side is. */
  add(left: Floats, right: Floats): void {
    const [a, b] = this.#dtype === 'F64' ? [left, right] : [singles(left), singles(right)];
    const wordsA = new Int32Array(a.buffer, a.byteOffset, a.byteLength / 4);
    const wordsB = new Int32Array(b.buffer, b.byteOffset, b.byteLength / 4);
    const loops = this.#loops;
    const count = { F64: countDoubles, F32: countSingles, BF16: countBrains, F16: countHalves }[this.#dtype];
    for (let start = 0; start < a.length; start += SIMD_RANGE) {
      const end = Math.min(a.length, start + SIMD_RANGE);
      const before = this.#seen;
      this.#seen += end - start;
      if (before >= EXACT_ELEMENTS && Math.floor(before / SIMD_RANGE) % SAMPLING !== 0) continue;
      if (this.#dtype === 'F64' || loops === null) count(wordsA, wordsB, start, end, this.#histogram);
      else loops.countUlps(a as Float32Array, b as Float32Array, start, end, this.#dtype, this.#histogram);
    }
  }

  distances(): UlpDistances {
    const used = this.#histogram.findLastIndex((count) => count > 0);
    const histogram = [...this.#histogram.subarray(0, used + 1)];
    const elements = histogram.reduce((sum, count) => sum + count, 0);
    const over = elements - (histogram[0] ?? 0) - (histogram[1] ?? 0);
    return { dtype: this.#dtype, elements, histogram, shareOverOne: elements === 0 ? 0 : over / elements };
  }
}

/** F64 values rounded to F32, from where the rounding to a coarser dtype begins. */
function singles(values: Floats): Float32Array {
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

// An exponent of all ones is an infinity or a NaN.
const EXPONENT = 0x7f800000;
const DOUBLE_EXPONENT = 0x7ff00000;
const MAGNITUDE = 0x7fffffff;
const BRAIN_INFINITY = 0x7f80;
const HALF_INFINITY = 0x7c00;

// The three loops differ in the rounding only, and are written out because a call through a variable per
// element halves their speed.

function countSingles(
  a: Int32Array,
  b: Int32Array,
  start: number,
  end: number,
  histogram: Float64Array,
): void {
  for (let k = start; k < end; k++) {
    const left = a[k]!;
    const right = b[k]!;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    if (left === right) histogram[0]!++;
    else histogram[bucket(left & MAGNITUDE, right & MAGNITUDE, left ^ right)]!++;
  }
}

/** Two words an element, the low one first. */
function countDoubles(
  a: Int32Array,
  b: Int32Array,
  start: number,
  end: number,
  histogram: Float64Array,
): void {
  for (let k = start; k < end; k++) {
    const left = a[2 * k + 1]!;
    const right = b[2 * k + 1]!;
    if ((left & DOUBLE_EXPONENT) === DOUBLE_EXPONENT || (right & DOUBLE_EXPONENT) === DOUBLE_EXPONENT)
      continue;
    const [x, y] = [magnitude(left, a[2 * k]!), magnitude(right, b[2 * k]!)];
    const distance = (left ^ right) < 0 ? x + y : x - y < 0n ? y - x : x - y;
    // As in `bucket`, without its limit of 32 bits.
    histogram[distance < 2n ? Number(distance) : 1 + (distance - 1n).toString(2).length]!++;
  }
}

/** The bits of a double without its sign. */
function magnitude(high: number, low: number): bigint {
  return (BigInt(high & MAGNITUDE) << 32n) | BigInt(low >>> 0);
}

function countBrains(
  a: Int32Array,
  b: Int32Array,
  start: number,
  end: number,
  histogram: Float64Array,
): void {
  for (let k = start; k < end; k++) {
    const left = a[k]!;
    const right = b[k]!;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    const x = brainBits(left & MAGNITUDE);
    const y = brainBits(right & MAGNITUDE);
    // A finite value that rounds beyond the dtype's largest is an infinity there.
    if (x < BRAIN_INFINITY && y < BRAIN_INFINITY) histogram[bucket(x, y, left ^ right)]!++;
  }
}

function countHalves(
  a: Int32Array,
  b: Int32Array,
  start: number,
  end: number,
  histogram: Float64Array,
): void {
  for (let k = start; k < end; k++) {
    const left = a[k]!;
    const right = b[k]!;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    const x = halfBits(left & MAGNITUDE);
    const y = halfBits(right & MAGNITUDE);
    if (x < HALF_INFINITY && y < HALF_INFINITY) histogram[bucket(x, y, left ^ right)]!++;
  }
}

/** Histogram entry for two magnitudes as bits; `signs` is negative where the signs differ. */
function bucket(x: number, y: number, signs: number): number {
  const distance = signs < 0 ? x + y : Math.abs(x - y);
  return distance < 2 ? distance : 33 - Math.clz32(distance - 1);
}

// Bits of a non-negative finite float to the bits of the nearest value of a dtype, ties to even.

function brainBits(bits: number): number {
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function halfBits(bits: number): number {
  // 0x38800000 is 2^-14, the smallest normal half; below it the spacing is constant.
  if (bits >= 0x38800000) return (bits - 0x38000000 + 0xfff + ((bits >>> 13) & 1)) >>> 13;
  const shift = 126 - (bits >>> 23);
  if (shift > 24) return 0;
  const fraction = (bits & 0x7fffff) | 0x800000;
  const half = 1 << (shift - 1);
  const quotient = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  return quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0);
}
