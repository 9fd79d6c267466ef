/** The one word for what a comparison says, the same in every command, report and figure. */

/**
 * `FAIL`: something was unpaired, not finite, of a run that did not finish or, with a threshold, above it.
 * `NOT JUDGED`: no threshold was given and values differ, or one was given and only statistics speak for a
 * value, which bound its error from below. `PASS`: all are within the threshold; without one all are
 * identical.
 */
export type Outcome = 'PASS' | 'FAIL' | 'NOT JUDGED';

/** What {@link outcomeOf} reads. */
export interface Judged {
  pass: boolean;
  failAbove: number | null;
}

/** The outcome of a comparison; `values` are those that were compared. */
export function outcomeOf({ pass, failAbove }: Judged, values: readonly { identical: boolean }[]): Outcome {
  if (!pass) return 'FAIL';
  return failAbove === null && !values.every(({ identical }) => identical) ? 'NOT JUDGED' : 'PASS';
}

/** Said with an outcome: what was allowed, or which option would. */
export function limitWords(failAbove: number | null): string {
  return failAbove === null ? 'no limit given (--fail-above)' : `energy NMSE at most ${failAbove}`;
}

/** The style of an outcome in texts. */
export const OUTCOME_STYLES = { PASS: 'good', FAIL: 'bad', 'NOT JUDGED': 'strong' } as const;
