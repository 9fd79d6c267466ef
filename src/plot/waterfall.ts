import type { AttributionReport } from '../locate/attribution.js';
import type { Figure } from './figure.js';
import { legendAbove } from './legend.js';
import { formatError, logAxis, logValues, plainText, titled, unseen } from './log-values.js';
import { requireSome } from './require-some.js';
import { FAULT_COLOR, NEUTRAL_COLOR, SERIES_COLORS } from './theme.js';

/**
 * Who contributes how much to the final error: for each group of sites the error with it alone in the tested dtype, and the bad run's error with it alone repaired, over the error as groups are
 * switched on one after the other. Groups come as `attribute` ranks them.
 *
 * @throws `BAD_ARGUMENT` for a report without groups.
 */
export function attributionWaterfall(
  report: AttributionReport,
  options: { title?: string; limit?: number } = {},
): Figure {
  const rows = report.rows.slice(0, options.limit ?? 24);
  requireSome('attributionWaterfall', 'a report with groups', rows.length);
  const [cumulative, alone, repaired] = logValues([
    rows.map((row) => row.cumulative),
    rows.map((row) => row.alone),
    rows.map((row) => row.repaired),
  ]);
  const groups = rows.map(({ group }) => plainText(group));
  const details = (text: readonly string[]) =>
    rows.map(({ pattern, sites }, at) => ['', text[at]!, plainText(pattern), sites]);
  const hover = (what: string) =>
    `%{x}<br>${what} %{customdata[1]}<br>%{customdata[3]} sites: %{customdata[2]}<extra></extra>`;
  const title = options.title ?? `What makes ${report.bad.policy} differ from ${report.good.policy}`;
  const errors = [report.good.error, report.bad.error].map(formatError);
  return {
    name: 'waterfall',
    title,
    description: `Final error of ${rows.length} groups of choices: alone, repaired, and switched on one after the other.`,
    data: [
      {
        type: 'bar',
        name: 'switched on one after the other',
        x: groups,
        y: cumulative!.drawn,
        marker: { color: NEUTRAL_COLOR, opacity: 0.45 },
        customdata: details(cumulative!.text),
        hovertemplate: hover('final error with all up to here'),
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: 'alone in the tested dtype',
        x: groups,
        y: alone!.drawn,
        marker: { color: FAULT_COLOR, size: 10, symbol: 'diamond' },
        customdata: details(alone!.text),
        hovertemplate: hover('final error with it alone'),
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: 'it alone repaired',
        x: groups,
        y: repaired!.drawn,
        marker: { color: SERIES_COLORS[0], size: 10, symbol: 'circle-open', line: { width: 2 } },
        customdata: details(repaired!.text),
        hovertemplate: hover('final error with it repaired'),
      },
    ],
    layout: {
      title: titled(
        title,
        `final error ${errors[0]} and ${errors[1]}, against the ${report.against}`,
        unseen([cumulative!, alone!, repaired!]),
      ),
      xaxis: { title: { text: report.by }, tickangle: -40 },
      yaxis: logAxis('energy NMSE of the logits'),
      ...legendAbove(3),
      height: 560,
    },
  };
}
