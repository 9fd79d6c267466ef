/** Logits that are all equal: of a model that computes nothing, or whose head is lost. */

/** How many rows of `width` logits are one finite number throughout. */
export function flatRows(logits: Float32Array, width: number): number {
  let rows = 0;
  // A single logit is equal to all others.
  if (width < 2) return 0;
  for (let start = 0; start < logits.length; start += width) {
    const first = logits[start]!;
    let at = start + 1;
    while (at < start + width && logits[at] === first) at++;
    if (at === start + width && Number.isFinite(first)) rows++;
  }
  return rows;
}

/** What a user should know of `flat` rows among `rows`; none where there are none. */
export function flatNote(flat: number, rows: number, what = 'tokens'): string[] {
  if (flat === 0) return [];
  const where = flat === rows ? '' : ` in ${flat} of ${rows} ${what}`;
  return [`all logits are equal${where}: no token is likelier than another`];
}
