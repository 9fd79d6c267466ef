/**
 * The likeliest token of a row of logits, of equal ones the first; null where a logit is NaN or infinite: any
 * token might be the likeliest then.
 */
export function likeliestToken(logits: Float32Array): number | null {
  if (!logits.every(Number.isFinite)) return null;
  return logits.reduce((best, value, id) => (value > logits[best]! ? id : best), 0);
}

/** Logits that are NaN or infinite. */
export function countNotNumbers(logits: Float32Array): number {
  return logits.reduce((count, value) => count + (Number.isFinite(value) ? 0 : 1), 0);
}

/** {@link likeliestToken} with its logit. */
export function likeliestWithLogit(logits: Float32Array): { id: number; logit: number } | null {
  const id = likeliestToken(logits);
  return id === null ? null : { id, logit: logits[id]! };
}
