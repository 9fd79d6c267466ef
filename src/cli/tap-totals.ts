import type { StatsRows } from '../dump/stats-reader.js';
import type { ValueStats } from '../locate/step/value.js';

/** Statistics of a tap over all its rows. */
export interface TapTotals extends ValueStats {
  /** Elements, NaN and infinities included. */
  count: number;
}

/** Joins the statistics of rows into those of taps, each row weighted by its finite elements. */
export function tapTotals(rows: StatsRows): Map<string, TapTotals> {
  const totals = new Map<string, TapTotals & { sum: number; squares: number }>();
  for (let row = 0; row < rows.length; row++) {
    const name = rows.tap[row]!;
    let total = totals.get(name);
    if (total === undefined) {
      total = {
        count: 0,
        min: Number.POSITIVE_INFINITY,
        max: Number.NEGATIVE_INFINITY,
        mean: Number.NaN,
        rms: Number.NaN,
        absmax: 0,
        nan: 0,
        inf: 0,
        sum: 0,
        squares: 0,
      };
      totals.set(name, total);
    }
    total.count += rows.count[row]!;
    total.nan += rows.nan[row]!;
    total.inf += rows.inf[row]!;
    const finite = rows.count[row]! - rows.nan[row]! - rows.inf[row]!;
    if (finite === 0) continue;
    total.min = Math.min(total.min, rows.min[row]!);
    total.max = Math.max(total.max, rows.max[row]!);
    total.absmax = Math.max(total.absmax, rows.absmax[row]!);
    total.sum += rows.mean[row]! * finite;
    total.squares += rows.rms[row]! ** 2 * finite;
  }
  return new Map(
    [...totals].map(([name, { sum, squares, ...total }]) => [name, finish(total, sum, squares)]),
  );
}

function finish(total: TapTotals, sum: number, squares: number): TapTotals {
  const finite = total.count - total.nan - total.inf;
  if (finite === 0) return { ...total, min: Number.NaN, max: Number.NaN, absmax: Number.NaN };
  return { ...total, mean: sum / finite, rms: Math.sqrt(squares / finite) };
}
