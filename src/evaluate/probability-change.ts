/**
 * Change of a token's probability, tested minus reference, over the scored tokens: negative where the tested
 * model predicts the text worse.
 */
export interface ProbabilityChange {
  mean: number;
  /** Root of the mean square. */
  rms: number;
  /** The values below which this many percent of the changes lie (nearest rank). */
  percentiles: { 1: number; 5: number; 50: number; 95: number; 99: number };
  min: number;
  max: number;
}

/** From logarithms of probabilities, in the same order on both sides, at least one. */
export function summariseChanges(reference: readonly number[], tested: readonly number[]): ProbabilityChange {
  const changes = Float64Array.from(reference, (value, at) => Math.exp(tested[at]!) - Math.exp(value)).sort();
  const count = changes.length;
  const percentile = (percent: number): number =>
    changes[Math.max(0, Math.ceil((percent / 100) * count) - 1)]!;
  return {
    mean: changes.reduce((sum, change) => sum + change, 0) / count,
    rms: Math.sqrt(changes.reduce((sum, change) => sum + change * change, 0) / count),
    percentiles: {
      1: percentile(1),
      5: percentile(5),
      50: percentile(50),
      95: percentile(95),
      99: percentile(99),
    },
    min: changes[0]!,
    max: changes[count - 1]!,
  };
}
