import { unmet } from '../errors.js';

/** How well a model predicts a text. */
export interface TextScores {
  /** Mean of −ln p over the scored tokens, in nats. */
  meanNll: number;
  /** exp of {@link meanNll}. */
  perplexity: number;
  /**
   * Standard error of the perplexity, taking the scores as independent; 0 for a single one, Infinity for an
   * infinite perplexity.
   */
  perplexityError: number;
}

/**
 * ln of the probability that soft-max gives to `token`, accumulated in float64. Throws `BACKEND` where logits
 * are NaN or +Infinity: a perplexity of such would mean nothing.
 * @param where in the text, for the error.
 */
export function logProbability(logits: Float32Array, token: number, where: string): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const result = logits[token]! - largest - Math.log(sum);
  if (Number.isNaN(result)) {
    const nan = logits.reduce((count, logit) => count + Number(Number.isNaN(logit)), 0);
    const infinite = logits.reduce((count, logit) => count + Number(Math.abs(logit) === Infinity), 0);
    throw unmet(
      'BACKEND',
      'evaluate',
      'finite logits',
      `${nan} NaN and ${infinite} infinite among ${logits.length}`,
      { where },
    );
  }
  return result;
}

/** Sums up the logarithms of probabilities of at least one token. */
export function summariseScores(logProbabilities: readonly number[]): TextScores {
  const count = logProbabilities.length;
  const meanNll = -logProbabilities.reduce((sum, value) => sum + value, 0) / count;
  const perplexity = Math.exp(meanNll);
  const squares = logProbabilities.reduce((sum, value) => sum + (value + meanNll) ** 2, 0);
  if (meanNll === Number.POSITIVE_INFINITY) return { meanNll, perplexity, perplexityError: meanNll };
  const deviation = count === 1 ? 0 : Math.sqrt(squares / (count - 1) / count);
  return { meanNll, perplexity, perplexityError: perplexity * deviation };
}
