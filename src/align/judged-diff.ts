/** What a comparison of aligned values owes its reader besides: values that lost their partner. */

import { outcomeOf } from '../diff/outcome.js';
import type { DiffReport, Unpaired } from '../diff/report.js';
import { tapPattern } from '../tap-pattern.js';
import type { AlignResult } from './align.js';
import { nonFiniteWords } from './non-finite.js';

/**
 * The report of `diffDumps` under the map of an alignment, in which what the map leaves out counts: values
 * that are not finite, unless they are allowed; and with a limit those of the reference that are `lost`.
 */
export function withAlignment(
  report: DiffReport,
  { lost, nonFinite }: Pick<AlignResult, 'lost' | 'nonFinite'>,
  allowNonFinite = false,
): DiffReport {
  const compared = new Set(report.tapReports.map(({ name }) => name));
  const named = new Set(report.unpaired.map(({ tap }) => tap));
  const matches = tapPattern(report.taps);
  const missing =
    report.failAbove === null
      ? []
      : lost.filter((tap) => matches(tap) && !compared.has(tap) && !named.has(tap));
  const unpaired = missing.map(
    (tap): Unpaired => ({
      tap,
      file: '',
      side: 'tested',
      reason: 'has no partner, and nothing that follows from it agrees',
      rows: 0,
      example: null,
    }),
  );
  const sides = allowNonFinite
    ? []
    : (['reference', 'tested'] as const).filter((side) => nonFinite[side].length > 0);
  if (unpaired.length + sides.length === 0) return report;
  const judged = { failAbove: report.failAbove, pass: false };
  return {
    ...report,
    ...judged,
    outcome: outcomeOf(judged, report.tapReports),
    notes: [...sides.map((side) => `NOT FINITE: ${nonFiniteWords(side, nonFinite[side])}`), ...report.notes],
    unpaired: [...report.unpaired, ...unpaired],
  };
}
