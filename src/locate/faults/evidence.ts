import type { FloatTapReport, IntegerTapReport, TapReport } from '../../diff/report.js';
import type { TapNoise } from '../noise/noise-floor.js';
import type { LocalError } from './local.js';
import type { LocatedOp } from './report.js';

/** Everything known of a tap; what is absent was not measured. */
export interface OpEvidence {
  /** Of the tested values against the reference, in the whole run. */
  cumulative: FloatTapReport | IntegerTapReport;
  local?: LocalError | undefined;
  /** Own errors of the same op in runs that count as right. */
  floors: readonly number[];
  noise?: TapNoise | undefined;
}

/** Energy NMSE of a tap in the whole run; integers: share of entries that differ. */
export function errorOf(report: FloatTapReport | IntegerTapReport): number {
  if (report.kind === 'float') return report.metrics.nmse;
  const { differing, elements } = report.metrics;
  return elements === 0 ? 0 : differing / elements;
}

/** The reports of values and integers among those of a diff. */
export function valueReports(reports: readonly TapReport[]): (FloatTapReport | IntegerTapReport)[] {
  return reports.filter((report) => report.kind === 'float' || report.kind === 'integer');
}

/** An op's own error. */
export function sizeOf({ local, cumulative }: Pick<LocatedOp, 'local' | 'cumulative'>): number {
  return local ?? cumulative;
}

/** The op that errs most. */
export function worstOf(ops: readonly LocatedOp[]): LocatedOp {
  return ops.reduce((best, op) => (sizeOf(op) > sizeOf(best) ? op : best));
}
