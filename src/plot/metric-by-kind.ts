import { type DiffReport, tapError } from '../diff/report.js';
import type { Figure } from './figure.js';
import { formatError, logAxis, logValues, plainText, titled, unseen } from './log-values.js';
import { requireSome } from './require-some.js';
import { SERIES_COLORS } from './theme.js';

/**
 * Energy NMSE by kind of value (a tap without its block), one point a block, as strips with boxes: which kinds err in every block, and which only somewhere. Kinds come in execution order.
 *
 * @throws `BAD_ARGUMENT` for a report without a floating tap of a block.
 */
export function metricByKind(
  report: DiffReport,
  options: { title?: string; kinds?: (kind: string) => boolean } = {},
): Figure {
  const kinds = new Map<string, { tap: string; nmse: number; block: number }[]>();
  for (const tap of report.tapReports) {
    const nmse = tapError(tap);
    if (nmse === null || tap.block === null) continue;
    const kind = tap.name.replace(/^layers\.\d+/, '') || 'block output';
    if (options.kinds?.(kind) === false) continue;
    const list = kinds.get(kind) ?? [];
    list.push({ tap: tap.name, nmse, block: tap.block });
    kinds.set(kind, list);
  }
  requireSome('metricByKind', 'a report with floating taps of blocks', kinds.size);
  const lists = [...kinds.values()];
  const values = logValues(lists.map((list) => list.map(({ nmse }) => nmse)));
  const title = options.title ?? 'Error by kind of value';
  return {
    name: 'metric-by-kind',
    title,
    description: `Energy NMSE of ${kinds.size} kinds of values over all blocks; the largest is ${formatError(Math.max(...lists.flat().map(({ nmse }) => nmse)))}.`,
    data: [...kinds].map(([kind, list], index) => ({
      type: 'box',
      name: plainText(kind.replace(/^\./, '')),
      y: values[index]!.drawn,
      boxpoints: 'all',
      jitter: 0.4,
      pointpos: 0,
      line: { width: 1 },
      marker: { size: 4, color: SERIES_COLORS[index % SERIES_COLORS.length] },
      customdata: list.map(({ tap, block }, at) => [tap, values[index]!.text[at]!, block]),
      hovertemplate:
        '%{customdata[0]}<br>energy NMSE %{customdata[1]}, block %{customdata[2]}<extra></extra>',
      showlegend: false,
    })),
    layout: {
      title: titled(title, 'a point is a block', unseen(values)),
      xaxis: { title: { text: 'kind of value, in execution order' }, tickangle: -60, tickfont: { size: 10 } },
      yaxis: logAxis('energy NMSE'),
      height: 620,
    },
  };
}
