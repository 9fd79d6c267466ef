/** Quantiles of few draws, such that a further draw lies beyond them as often as they say. */

/**
 * The probability that a further draw of the same distribution, whatever it is, lies above
 * {@link drawQuantile} of `1 − bandEdge(draws)`; and below that of `bandEdge(draws)`. 0.05 from 19 draws;
 * with fewer the band is from the smallest to the largest, beyond each of which 1 / (draws + 1) lie.
 */
export function bandEdge(draws: number): number {
  return Math.max(0.05, 1 / (draws + 1));
}

/**
 * The value that a further draw lies below with probability `p`: at place p · (draws + 1) of the sorted ones,
 * between neighbours in proportion; never beyond the smallest and largest.
 */
export function drawQuantile(draws: ArrayLike<number>, p: number): number {
  const sorted = Float64Array.from(draws).sort();
  const place = Math.min(Math.max(p * (sorted.length + 1) - 1, 0), sorted.length - 1);
  const below = Math.floor(place);
  const [a, b] = [sorted[below]!, sorted[Math.min(below + 1, sorted.length - 1)]!];
  return a + (b - a) * (place - below);
}

/** Where most draws lie. */
export interface Band {
  low: number;
  median: number;
  high: number;
}

/** The band of some draws: {@link bandEdge} of further ones lie below it, as many above. */
export function bandOf(draws: ArrayLike<number>): Band {
  const edge = bandEdge(draws.length);
  return {
    low: drawQuantile(draws, edge),
    median: drawQuantile(draws, 0.5),
    high: drawQuantile(draws, 1 - edge),
  };
}
