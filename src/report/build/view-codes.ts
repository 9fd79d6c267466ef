/**
 * Grids of floats as one byte a cell, which is what a heat map's colours can tell apart. `page/tensor.ts`
 * reads them back in the browser.
 */

/** Codes that are no level. */
export const CODE = { none: 0, same: 1, minusInfinity: 253, infinity: 254, nan: 255 } as const;

/** Levels 1 to 252 of {@link encodeValues}, evenly spread from `least` to `most`. */
export interface ValueScale {
  least: number;
  most: number;
}

/** Smallest and largest finite value of some grids; 0 and 0 where there is none. */
export function valueScale(grids: readonly Float32Array[], filled: Uint8Array): ValueScale {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const grid of grids)
    for (let cell = 0; cell < grid.length; cell++) {
      const value = grid[cell]!;
      if (filled[cell] === 0 || !Number.isFinite(value)) continue;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  return least > most ? { least: 0, most: 0 } : { least, most };
}

/** Values as levels of a scale: off by at most 0.2 % of its range. */
export function encodeValues(
  grid: Float32Array,
  filled: Uint8Array,
  { least, most }: ValueScale,
  out: Uint8Array,
): void {
  const step = most > least ? 251 / (most - least) : 0;
  for (let cell = 0; cell < grid.length; cell++) {
    const value = grid[cell]!;
    if (filled[cell] === 0) out[cell] = CODE.none;
    else if (Number.isNaN(value)) out[cell] = CODE.nan;
    else if (!Number.isFinite(value)) out[cell] = value > 0 ? CODE.infinity : CODE.minusInfinity;
    else out[cell] = 1 + Math.round((value - least) * step);
  }
}

/**
 * Magnitudes of {@link encodeDifferences}: 126 levels, evenly spread in the logarithm from `least` to `most`.
 */
export interface DifferenceScale {
  /**
   * Smallest magnitude told apart; at least 1e-9 of `most`. Smaller ones are shown as this. 0 without a
   * difference.
   */
  least: number;
  most: number;
}

/** Decades that 126 levels are spread over at most. */
const DECADES = 9;

/** The scale of a grid of differences. */
export function differenceScale(grid: Float32Array): DifferenceScale {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const value of grid) {
    const size = Math.abs(value);
    if (!(size > 0)) continue;
    least = Math.min(least, size);
    most = Math.max(most, size);
  }
  return most === 0 ? { least: 0, most: 0 } : { least: Math.max(least, most * 10 ** -DECADES), most };
}

/**
 * Differences by magnitude and sign: {@link CODE}.same for exactly 0, 2 to 127 for positive ones, 128 to 253
 * for negative ones, {@link CODE}.nan where a side is not finite.
 */
export function encodeDifferences(
  grid: Float32Array,
  filled: Uint8Array,
  { least, most }: DifferenceScale,
  out: Uint8Array,
): void {
  const step = most > least ? 125 / Math.log(most / least) : 0;
  for (let cell = 0; cell < grid.length; cell++) {
    const value = grid[cell]!;
    if (filled[cell] === 0) out[cell] = CODE.none;
    else if (Number.isNaN(value)) out[cell] = CODE.nan;
    else if (value === 0) out[cell] = CODE.same;
    else {
      const level = Math.round(Math.log(Math.max(least, Math.abs(value)) / least) * step);
      out[cell] = (value > 0 ? 2 : 128) + level;
    }
  }
}
