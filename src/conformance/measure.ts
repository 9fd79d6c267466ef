import type { Dtype } from '../dtype.js';

/** How far a result is from double precision. */
export interface Measures {
  /**
   * Power of the error over the power of the reference; 0 if there is no error, infinite if non-finite
   * elements differ.
   */
  nmse: number;
  /**
   * Largest error in units in the last place of the exact value, in the dtype of the result; for integers the
   * largest difference. Finite elements only.
   */
  maxUlp: number;
  /** Largest absolute error of finite elements. */
  maxAbs: number;
  /**
   * Elements that are NaN or infinite on one side and not the same on the other. NaN equals NaN; infinities
   * must agree in sign.
   */
  nonFinite: number;
  /** Elements that are NaN, or the same infinity, on both sides: in no sum. */
  special: number;
}

/** Significant bits, and the exponent of the smallest normal number. */
const FORMATS: Readonly<Partial<Record<Dtype, readonly [bits: number, lowest: number]>>> = {
  F32: [24, -126],
  F16: [11, -14],
  BF16: [8, -126],
};

/**
 * Compares a result with the exact values, element by element in the same order. Lengths that differ are an
 * error in every element.
 */
export function measure(actual: Float64Array, exact: Float64Array, dtype: Dtype): Measures {
  if (actual.length !== exact.length)
    return { nmse: Infinity, maxUlp: Infinity, maxAbs: Infinity, nonFinite: exact.length, special: 0 };
  let [error, power, maxUlp, maxAbs, nonFinite, special] = [0, 0, 0, 0, 0, 0];
  for (const [at, expected] of exact.entries()) {
    const got = actual[at]!;
    if (!Number.isFinite(expected) || !Number.isFinite(got)) {
      if (Object.is(got, expected)) special++;
      else nonFinite++;
      continue;
    }
    const difference = Math.abs(got - expected);
    error += difference ** 2;
    power += expected ** 2;
    maxAbs = Math.max(maxAbs, difference);
    maxUlp = Math.max(maxUlp, difference / unit(expected, dtype));
  }
  const nmse = nonFinite > 0 ? Infinity : error === 0 ? 0 : error / power;
  return { nmse, maxUlp, maxAbs, nonFinite, special };
}

/** Distance between neighbours of a dtype around a value. */
function unit(value: number, dtype: Dtype): number {
  const format = FORMATS[dtype];
  if (format === undefined) return 1;
  const [bits, lowest] = format;
  const exponent = value === 0 ? lowest : Math.max(lowest, Math.floor(Math.log2(Math.abs(value))));
  return 2 ** (exponent - bits + 1);
}
