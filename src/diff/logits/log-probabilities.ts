import { PERPLEXITY_RANGE } from '../../dump/import/source-perplexity.js';

/**
 * Log-probabilities as llama-perplexity keeps them: the log of the soft-max over all V values of a row, never
 * less than 16 nats below the row's largest. A row of log-probabilities stays as it is.
 * @param row logits or log-probabilities F32 [V]. @returns F32 [V]; NaN throughout where a value is NaN.
 */
export function clippedLogProbabilities(row: Float32Array): Float32Array {
  const most = row.reduce((max, value) => Math.max(max, value), Number.NEGATIVE_INFINITY);
  const least = most - PERPLEXITY_RANGE;
  let sum = 0;
  for (const value of row) sum += Math.exp(value - most);
  const shift = most + Math.log(sum);
  return row.map((value) => Math.max(value, least) - shift);
}
