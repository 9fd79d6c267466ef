import type { DiffReport } from '../diff/report.js';
import { isKnownOrder } from '../diff/tap-order.js';

/**
 * A note for a figure's subtitle where values of the reports hold NaN or infinities: their errors are over
 * the other elements, or infinite. Empty where all are finite.
 */
export function nonFiniteNote(reports: readonly (DiffReport | undefined)[]): string {
  const count = reports
    .flatMap((report) => report?.tapReports ?? [])
    .filter(({ nonFinite }) => (nonFinite?.counted ?? 0) + (nonFinite?.allowed ?? 0) > 0).length;
  return count === 0 ? '' : `NaN or infinity in ${count} ${count === 1 ? 'value' : 'values'}`;
}

/** A note for a figure's subtitle where statistics bound the errors from below. */
export function boundNote(reports: readonly (DiffReport | undefined)[]): string {
  return reports.some((report) => report?.kind === 'statistics') ? 'errors at least, from statistics' : '';
}

/**
 * A note for a figure's subtitle where values stand by name, because the order in which they were computed is
 * not known.
 */
export function orderNote(reports: readonly (DiffReport | undefined)[]): string {
  return reports.some((report) => report !== undefined && !isKnownOrder(report.order ?? 'execution'))
    ? 'by name, execution order not known'
    : '';
}
