/** Dtypes of half the width. */
export type HalfDtype = 'BF16' | 'F16';

/**
 * A twelfth of the square of the spacing of a dtype's values, by the exponent bits of an F32; 0 for NaN and
 * infinity.
 */
function spacings(bits: number, least: number): Float64Array {
  return Float64Array.from({ length: 256 }, (_, exponent) =>
    exponent === 255 ? 0 : (2 ** (Math.max(exponent - 127, least) - bits)) ** 2 / 12,
  );
}

/** By mantissa bits and smallest normal exponent. */
const SPACINGS = { BF16: spacings(7, -126), F16: spacings(10, -14) } as const;
/** The largest F16. */
const F16_MAX = 65504;

/**
 * Accumulates the energy that rounding to nearest takes from values of these sizes on average (a twelfth of a
 * unit squared), and their own. Values that are not finite are left out.
 */
export class RoundingSums {
  #size = 0;
  readonly #errors = { BF16: 0, F16: 0 };

  add(values: Float32Array): void {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const counts = new Float64Array(256);
    for (let k = 0; k < values.length; k++) {
      const exponent = (words[k]! >>> 23) & 255;
      if (exponent === 255) continue;
      counts[exponent]!++;
      this.#size += values[k]! ** 2;
    }
    for (let exponent = 0; exponent < 255; exponent++) {
      this.#errors.BF16 += counts[exponent]! * SPACINGS.BF16[exponent]!;
      this.#errors.F16 += counts[exponent]! * SPACINGS.F16[exponent]!;
    }
  }

  /** Energy NMSE of rounding to each dtype; 0 where nothing was added. */
  nmse(): Record<HalfDtype, number> {
    const of = (dtype: HalfDtype) => (this.#size === 0 ? 0 : this.#errors[dtype] / this.#size);
    return { BF16: of('BF16'), F16: of('F16') };
  }
}

/** Sets what cannot hold one of the values to false. */
export function narrow(values: Float32Array, fits: Record<HalfDtype, boolean>): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < values.length && (fits.BF16 || fits.F16); k++) {
    if ((words[k]! & 0xffff) !== 0) fits.BF16 = false;
    const value = Math.abs(values[k]!);
    // Below the normal numbers the spacing is 2^-24; above, the mantissa has 10 bits.
    const isF16 =
      value < 2 ** -14
        ? Number.isInteger(value * 2 ** 24)
        : !Number.isFinite(value) || (value <= F16_MAX && (words[k]! & 0x1fff) === 0);
    if (!isF16) fits.F16 = false;
  }
}

/** Half the spacing of a dtype's values, by the exponent bits of an F32. */
function halfSpacings(bits: number, least: number): Float64Array {
  return Float64Array.from(
    { length: 256 },
    (_, exponent) => 2 ** (Math.max(exponent - 127, least) - bits - 1),
  );
}

const HALF_SPACINGS = { BF16: halfSpacings(7, -126), F16: halfSpacings(10, -14) } as const;
/**
 * A sum in another order may move a value by this much (relative), across the middle between two neighbours.
 */
const SLACK = 2 ** -20;

/**
 * Elements of `values` that are nearest to those of `exact` among what a dtype holds; in the middle between
 * two, either.
 */
export function countRoundedOnce(values: Float32Array, exact: Float32Array, dtype: HalfDtype): number {
  const nearest = HALF_SPACINGS[dtype];
  const words = new Uint32Array(exact.buffer, exact.byteOffset, exact.length);
  let count = 0;
  for (let k = 0; k < values.length; k++) {
    const right = exact[k]!;
    const error = Math.abs(values[k]! - right);
    if (error === 0 || error <= nearest[(words[k]! >>> 23) & 255]! + SLACK * Math.abs(right)) count++;
  }
  return count;
}
