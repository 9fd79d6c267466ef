/**
 * Error metrics of a tested tensor b against a reference tensor a, accumulated in float64 in one pass over
 * any number of parts.
 *
 * Pairs of which a side is not finite enter no sum, and are counted. The same infinity on both sides is no
 * error here (whether a verdict may pass over it is the caller's to say); any other such pair is a mismatch,
 * NaN and NaN too, and one mismatch makes every error of magnitude infinite. With nothing to compare (no
 * elements, or none finite) errors are 0, cosine and shares 1.
 */

import { unmet } from '../errors.js';
import { SIMD_RANGE, type Simd, simd } from '../simd.js';
import {
  addEqualBits,
  addEqualWordPairs,
  addMagnitudes,
  addProducts,
  type Floats,
  SUM,
  SUM_COUNT,
} from './kernels/sum-kernels.js';

/**
 * Errors of one tensor. Ratios without a denominator are 0 where there is no error either, and Infinity
 * otherwise.
 */
export interface TensorMetrics {
  /** Pairs of elements. */
  elements: number;
  /** Energy NMSE: Σ(a−b)² / Σa². Zero reference: 0 if b is zero too, else Infinity. */
  nmse: number;
  /**
   * Variance NMSE: mean((a−b)²) / var(a), var being the population's. Constant reference: 0 without error,
   * else Infinity.
   */
  nmseVariance: number;
  /** −10·log10 of the energy NMSE, in dB: Infinity without error, −Infinity for an infinite one. */
  snrDb: number;
  /** Mean of (a−b)². */
  mse: number;
  /** Mean of |a−b|. */
  mae: number;
  /** Largest |a−b|, a mismatch counting as Infinity. */
  maxAbs: number;
  /** Flat element of the first pair with that error, over all parts in order; −1 without error. */
  maxAbsIndex: number;
  /** ‖a−b‖ / ‖a‖, the square root of {@link nmse}. */
  relativeL2: number;
  /** max|a−b| / max|a|. */
  relativeLinf: number;
  /** ⟨a,b⟩ / (‖a‖‖b‖), blind to scale. Both zero: 1; one zero: 0. Not touched by mismatches. */
  cosine: number;
  /** Σ(a−b)² / (Σa² + Σb²), which is 1 − 2⟨a,b⟩/(‖a‖²+‖b‖²). Both zero: 0. */
  symmetricRelative: number;
  /** Share of elements with |a−b| ≤ 0.001·|a|. */
  withinTenthPercent: number;
  /** Share of elements with |a−b| ≤ 0.005·|a|. */
  withinHalfPercent: number;
  /**
   * Share of elements with the same bits, both widened to F32 (or F64): zeros of different sign differ, as do
   * NaNs of different payload.
   */
  bitEqual: number;
  /** True where there are elements and all are 0 on both sides: that they agree says little. */
  bothZero: boolean;
  /** NaNs per side. */
  nan: { reference: number; tested: number };
  /** Infinities per side. */
  inf: { reference: number; tested: number };
  /** Pairs of which a side is not finite; they are in no sum. */
  nonFinite: number;
  /** Of these, pairs of the same infinity. */
  sameInfinities: number;
  /**
   * Of these, pairs that are an infinite error: all others, NaN and NaN too unless {@link
   * MetricOptions.allowNaN}.
   */
  nonFiniteMismatches: number;
}

/** Options of {@link MetricSums}. */
export interface MetricOptions {
  /** NaN at the same place on both sides is left out instead of being an infinite error. Default false. */
  allowNaN?: boolean;
}

/**
 * Errors of `tested` against `reference`, two tensors in memory.
 * @throws `SHAPE_MISMATCH` for different lengths.
 */
export function tensorMetrics(reference: Float32Array, tested: Float32Array): TensorMetrics {
  if (reference.length !== tested.length)
    throw unmet(
      'SHAPE_MISMATCH',
      'tensorMetrics',
      'as many elements on both sides',
      `${reference.length} and ${tested.length}`,
      { shapes: [[reference.length], [tested.length]] },
    );
  const sums = new MetricSums();
  sums.add(reference, tested);
  return sums.metrics();
}

/** Accumulates {@link TensorMetrics}. */
export class MetricSums {
  readonly #sums = new Float64Array(SUM_COUNT);
  readonly #part = new Float64Array(SUM_COUNT);
  #elements = 0;
  #finite = 0;
  #shift: number | undefined;
  #maxReference = 0;
  #maxAbs = 0;
  #maxAbsIndex = -1;
  readonly #nan = { reference: 0, tested: 0 };
  readonly #inf = { reference: 0, tested: 0 };
  readonly #allowsNaN: boolean;
  readonly #loops: Simd | null;
  #nonFinite = 0;
  #sameInfinities = 0;
  #mismatches = 0;
  #firstNonFinite = -1;

  /** @param loops SIMD loops to use; null for those in TypeScript. Default: SIMD where it is built. */
  constructor({ allowNaN = false }: MetricOptions = {}, loops: Simd | null = simd()) {
    this.#allowsNaN = allowNaN;
    this.#loops = loops;
  }

  /**
   * Adds a part: `a` of the reference, `b` of the tested tensor, of the same length and kind: F32, or both
   * F64 (of magnitudes below 1e154, whose squares are doubles; beyond them errors are not numbers).
   */
  add(a: Floats, b: Floats): void {
    const wordsA = new Int32Array(a.buffer, a.byteOffset, a.byteLength / 4);
    const wordsB = new Int32Array(b.buffer, b.byteOffset, b.byteLength / 4);
    const addEqual = a instanceof Float64Array ? addEqualWordPairs : addEqualBits;
    // The variance is taken around some value of the tensor: exact for constant ones, and no cancellation for
    // a large mean.
    this.#shift ??= (a as Float32Array).find(Number.isFinite);
    for (let start = 0; start < a.length; start += SIMD_RANGE) {
      const end = Math.min(a.length, start + SIMD_RANGE);
      const part = this.#part.fill(0);
      const shift = this.#shift ?? 0;
      let rest = start;
      if (a instanceof Float32Array && b instanceof Float32Array)
        rest = this.#loops?.addSums(a, b, start, end, shift, part) ?? start;
      addProducts(a, b, rest, end, shift, part);
      if (Number.isFinite(part[SUM.squaredError])) {
        addMagnitudes(a, b, rest, end, part);
        this.#finite += end - start;
      } else {
        this.#addNonFinite(a, b, start, end);
        rest = start;
      }
      addEqual(wordsA, wordsB, rest, end, part);
      this.#take(a, b, start, end);
    }
    this.#elements += a.length;
  }

  /** {@link TensorMetrics.maxAbsIndex} so far. */
  get maxAbsIndex(): number {
    return this.#maxAbsIndex;
  }

  /** Flat element of the first pair so far of which a side is not finite; −1 without one. */
  get firstNonFinite(): number {
    return this.#firstNonFinite;
  }

  /** The metrics of everything added so far. */
  metrics(): TensorMetrics {
    const n = this.#finite;
    const sums = this.#sums;
    const wrong = this.#mismatches > 0;
    const magnitude = (value: number): number => (wrong ? Number.POSITIVE_INFINITY : value);
    const perFinite = (sum: number): number => (n === 0 ? 0 : sum / n);
    const share = (count: number): number => (this.#elements === 0 ? 1 : count / this.#elements);
    const [squaredError, squaredReference, squaredTested] = [
      sums[SUM.squaredError]!,
      sums[SUM.squaredReference]!,
      sums[SUM.squaredTested]!,
    ];
    const variance = Math.max(0, perFinite(sums[SUM.shiftedSquares]!) - perFinite(sums[SUM.shifted]!) ** 2);
    const nmse = magnitude(ratio(squaredError, squaredReference));
    return {
      elements: this.#elements,
      nmse,
      nmseVariance: magnitude(ratio(perFinite(squaredError), variance)),
      snrDb: nmse === 0 ? Number.POSITIVE_INFINITY : -10 * Math.log10(nmse),
      mse: magnitude(perFinite(squaredError)),
      mae: magnitude(perFinite(sums[SUM.absError]!)),
      maxAbs: this.#maxAbs,
      maxAbsIndex: this.#maxAbsIndex,
      relativeL2: Math.sqrt(nmse),
      relativeLinf: magnitude(ratio(this.#maxAbs, this.#maxReference)),
      cosine: cosine(sums[SUM.product]!, squaredReference, squaredTested),
      symmetricRelative: magnitude(ratio(squaredError, squaredReference + squaredTested)),
      withinTenthPercent: share(sums[SUM.withinTenth]!),
      withinHalfPercent: share(sums[SUM.withinHalf]!),
      bitEqual: share(sums[SUM.bitEqual]!),
      bothZero: this.#elements > 0 && this.#nonFinite === 0 && this.#maxReference + this.#maxAbs === 0,
      nan: { ...this.#nan },
      inf: { ...this.#inf },
      nonFinite: this.#nonFinite,
      sameInfinities: this.#sameInfinities,
      nonFiniteMismatches: this.#mismatches,
    };
  }

  /**
   * Adds the latest range's sums to the totals, and finds where its largest error stands if it is the largest
   * yet.
   */
  #take(a: Floats, b: Floats, start: number, end: number): void {
    for (let k = 0; k < SUM.maxReference; k++) this.#sums[k]! += this.#part[k]!;
    this.#maxReference = Math.max(this.#maxReference, this.#part[SUM.maxReference]!);
    const largest = this.#part[SUM.maxError]!;
    if (largest <= this.#maxAbs) return;
    this.#maxAbs = largest;
    for (let k = start; k < end; k++)
      if (
        largest === Number.POSITIVE_INFINITY
          ? this.#isMismatch(a[k]!, b[k]!)
          : Math.abs(a[k]! - b[k]!) === largest
      ) {
        this.#maxAbsIndex = this.#elements + k;
        return;
      }
  }

  /** Does a range again that holds elements which are not finite: sums over the others, counts of these. */
  #addNonFinite(a: Floats, b: Floats, start: number, end: number): void {
    const part = this.#part.fill(0);
    const Elements = a.constructor as Float32ArrayConstructor;
    const [x, y] = [new Elements(1), new Elements(1)];
    for (let k = start; k < end; k++) {
      x[0] = a[k]!;
      y[0] = b[k]!;
      if (Number.isFinite(x[0] - y[0])) {
        addProducts(x, y, 0, 1, this.#shift ?? 0, part);
        addMagnitudes(x, y, 0, 1, part);
        this.#finite++;
        continue;
      }
      countSpecial(x[0]!, 'reference', this.#nan, this.#inf);
      countSpecial(y[0]!, 'tested', this.#nan, this.#inf);
      this.#nonFinite++;
      if (this.#firstNonFinite < 0) this.#firstNonFinite = this.#elements + k;
      if (x[0] === y[0]) this.#sameInfinities++;
      if (this.#isMismatch(x[0]!, y[0]!)) {
        this.#mismatches++;
        part[SUM.maxError] = Number.POSITIVE_INFINITY;
      } else if (x[0] === y[0]) {
        part[SUM.withinTenth]!++;
        part[SUM.withinHalf]!++;
      }
    }
  }

  /**
   * True where not both are finite and they are not the same infinity (nor, where that is allowed, both NaN).
   */
  #isMismatch(x: number, y: number): boolean {
    if (Number.isFinite(x - y) || x === y) return false;
    return !(this.#allowsNaN && Number.isNaN(x) && Number.isNaN(y));
  }
}

function countSpecial(
  value: number,
  side: 'reference' | 'tested',
  nan: Record<typeof side, number>,
  inf: Record<typeof side, number>,
): void {
  if (Number.isNaN(value)) nan[side]++;
  else if (!Number.isFinite(value)) inf[side]++;
}

function ratio(error: number, size: number): number {
  if (error === 0) return 0;
  return size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

function cosine(product: number, squaredA: number, squaredB: number): number {
  if (squaredA === 0 && squaredB === 0) return 1;
  if (squaredA === 0 || squaredB === 0) return 0;
  return product / Math.sqrt(squaredA) / Math.sqrt(squaredB);
}
