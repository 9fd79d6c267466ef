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

function ratio(error: number, power: number): number {
  if (error === 0) return 0;
  const value = error / power;
  return power > 0 && Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
}
