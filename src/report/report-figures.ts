import type { DiffReport } from '../diff/report.js';
import type { LocateReport } from '../locate/locate-report.js';
import type { TapNoise } from '../locate/noise-floor.js';
import type { PageFigure } from './page-data.js';

/** The figures on top of a report, those that have something to show. */
export function reportFigures(
  _diff: DiffReport,
  _noise: readonly TapNoise[] | null,
  _located: LocateReport | null,
): PageFigure[] {
  return [];
}
