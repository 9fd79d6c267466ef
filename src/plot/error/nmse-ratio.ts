import type { DiffReport } from '../../diff/report.js';
import type { Figure } from '../figure.js';
import { titled } from '../log-values.js';
import { boundNote, nonFiniteNote } from '../report-notes.js';
import { requireSome } from '../require-some.js';
import { SERIES_COLORS } from '../theme.js';

/**
 * Variance NMSE over energy NMSE of every value that errs, in execution order: 1 where the reference's mean
 * is 0, more where it is not. A threshold for one is none for the other there.
 *
 * @throws `BAD_ARGUMENT` for a report without a floating tap that errs.
 */
export function nmseRatio(report: DiffReport, options: { title?: string } = {}): Figure {
  const points = report.tapReports.flatMap((tap) =>
    tap.kind === 'float' && tap.metrics.nmse > 0 && Number.isFinite(tap.metrics.nmseVariance)
      ? [{ tap: tap.name, block: tap.block, ratio: tap.metrics.nmseVariance / tap.metrics.nmse }]
      : [],
  );
  requireSome('nmseRatio', 'a report with floating taps that err', points.length);
  const title = options.title ?? 'Variance NMSE over energy NMSE';
  const above = points.filter(({ ratio }) => ratio > 1.05).length;
  return {
    name: 'nmse-ratio',
    title,
    description: `The ratio of both NMSEs of ${points.length} values; ${above} differ by more than 5 %.`,
    data: [
      {
        type: 'scatter',
        mode: 'markers',
        x: points.map((_, at) => at),
        y: points.map(({ ratio }) => ratio),
        marker: { size: 5, color: SERIES_COLORS[0]! },
        customdata: points.map(({ tap, ratio }) => [tap, ratio.toFixed(2)]),
        hovertemplate: '%{customdata[0]}<br>%{customdata[1]} times<extra></extra>',
        showlegend: false,
      },
    ],
    layout: {
      title: titled(
        title,
        `${above} of ${points.length} values differ by more than 5 %`,
        boundNote([report]),
        nonFiniteNote([report]),
      ),
      xaxis: { title: { text: 'value, in execution order' } },
      yaxis: { title: { text: 'variance NMSE / energy NMSE' } },
    },
  };
}
