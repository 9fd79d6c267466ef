/** How far two values are from each other. */

/** Quantiles that stand for the sorted elements. */
export const QUANTILES = 64;

/** 64 places of sorted elements, from the first half per cent to the last. */
export function quantilesOf(sorted: Float32Array): Float64Array {
  return Float64Array.from({ length: QUANTILES }, (_, k) => {
    const place = ((k + 0.5) / QUANTILES) * (sorted.length - 1);
    const low = Math.floor(place);
    const [a, b] = [sorted[low]!, sorted[Math.min(low + 1, sorted.length - 1)]!];
    return a === b ? a : a + (b - a) * (place - low);
  });
}

/**
 * Sum of squared differences of quantiles over the variance of the reference's. Not larger than what an
 * element-by-element comparison in the right layout gives, up to the quantiles' own coarseness; infinite
 * where one side holds infinities that the other lacks.
 */
export function quantileDistance(reference: Float64Array, tested: Float64Array): number {
  return elementDistance(reference, tested);
}

/**
 * Squared differences over the variance of the reference: what its mean alone explains counts for nothing.
 */
export function elementDistance(
  reference: Float32Array | Float64Array,
  tested: Float32Array | Float64Array,
): number {
  let error = 0;
  let sum = 0;
  let squares = 0;
  const count = reference.length;
  for (let k = 0; k < count; k++) {
    const [x, y] = [reference[k]!, tested[k]!];
    if (x === y && !Number.isFinite(x)) continue;
    error += (x - y) * (x - y);
    sum += x;
    squares += x * x;
  }
  return ratio(error, squares - (sum * sum) / count);
}

/** Rows whose error is so many times the middle one's are wholly other. */
const OTHER = 25;
const ROUNDING = 1e-9;

/**
 * The middle one of the tokens' errors, each over the power of its row; 0 for rows of zeros on both sides.
 * Unlike {@link elementDistance} it does not see a few tokens that are wholly other. Of one row or less it is
 * infinite, and where most others hold the same elements in another order: that is no layout.
 */
export function middleError(reference: Float32Array, tested: Float32Array, rows: number): number {
  if (rows < 2) return Number.POSITIVE_INFINITY;
  const width = reference.length / rows;
  const errors = Float64Array.from({ length: rows }, (_, row) =>
    rowError(rowAt(reference, row, width), rowAt(tested, row, width)),
  );
  const middle = errors.toSorted()[rows >> 1]!;
  const limit = OTHER * Math.max(middle, ROUNDING);
  const others = [...errors.keys()].filter((row) => errors[row]! > limit);
  return areReordered(others, reference, tested, width, limit) ? Number.POSITIVE_INFINITY : middle;
}

/**
 * Share of rows in which anything differs: of indices. Infinite where most hold the same in another order.
 */
export function differingRows(reference: Float32Array, tested: Float32Array, rows: number): number {
  const width = reference.length / rows;
  const others = Array.from({ length: rows }, (_, row) => row).filter((row) =>
    rowAt(reference, row, width).some((value, k) => value !== tested[row * width + k]),
  );
  return areReordered(others, reference, tested, width, 0) ? Number.POSITIVE_INFINITY : others.length / rows;
}

/** Whether most of these rows hold the same elements in another order. */
function areReordered(
  rows: readonly number[],
  reference: Float32Array,
  tested: Float32Array,
  width: number,
  limit: number,
): boolean {
  if (width < 2) return false;
  const same = rows.filter(
    (row) => rowError(rowAt(reference, row, width).toSorted(), rowAt(tested, row, width).toSorted()) <= limit,
  );
  return rows.length > 0 && 2 * same.length >= rows.length;
}

function rowAt(data: Float32Array, row: number, width: number): Float32Array {
  return data.subarray(row * width, (row + 1) * width);
}

/** Squared differences over the reference's power. */
function rowError(reference: Float32Array, tested: Float32Array): number {
  let [error, power] = [0, 0];
  for (let k = 0; k < reference.length; k++) {
    const [x, y] = [reference[k]!, tested[k]!];
    if (x === y && !Number.isFinite(x)) continue;
    error += (x - y) * (x - y);
    power += x * x;
  }
  return ratio(error, power);
}

function ratio(error: number, power: number): number {
  if (error === 0) return 0;
  const value = error / power;
  return power > 0 && Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
}
