import type { LogitsCheckReport } from '../diff/logits/check.js';
import { formatError } from '../text-table.js';
import { type Figure, plainNumbers } from './figure.js';
import { legendAbove } from './legend.js';
import { plainText, titled } from './log-values.js';
import { requireSome } from './require-some.js';
import { NEUTRAL_COLOR, SERIES_COLORS } from './theme.js';

/**
 * The likeliest tokens of the last row, side by side: logits of the reference and of the tested run for every
 * token that is among the likeliest of either, and below them the differences, of tokens that are among those
 * of both.
 *
 * @param text of a token id, for the axis; default: the id.
 * @throws `BAD_ARGUMENT` for a report that compared no row.
 */
export function logitsTopK(
  report: LogitsCheckReport,
  options: { title?: string; text?: (id: number) => string } = {},
): Figure {
  const top = report.top;
  requireSome(
    'logitsTopK',
    'a report with compared rows of finite logits',
    top === null ? 0 : top.reference.length + top.tested.length,
  );
  const { reference, tested } = top!;
  const logits = new Map([
    ['reference', new Map(reference.map(({ id, logit }) => [id, logit]))],
    ['tested', new Map(tested.map(({ id, logit }) => [id, logit]))],
  ]);
  const ids = [...new Set([...reference, ...tested].map(({ id }) => id))];
  const name = options.text ?? String;
  const title = options.title ?? 'Likeliest tokens of the last position';
  const labels = ids.map((id) =>
    plainText(`${JSON.stringify(name(id))}${options.text === undefined ? '' : ` (${id})`}`),
  );
  const rank = (side: readonly { id: number }[], id: number) => {
    const at = side.findIndex((entry) => entry.id === id);
    return at < 0 ? `not among the first ${side.length}` : `rank ${at + 1}`;
  };
  const differences = ids.map((id) => {
    const [a, b] = [...logits.values()].map((values) => values.get(id));
    return a === undefined || b === undefined ? null : plainNumbers([b - a])[0]!;
  });
  return {
    name: 'logits-top-k',
    title,
    description: `Logits of ${ids.length} tokens, reference beside tested.`,
    data: [
      ...[...logits].map(([side, values], index) => ({
        type: 'bar',
        name: `${side}: ${plainText(side === 'reference' ? report.reference.name : report.tested.name)}`,
        x: labels,
        y: plainNumbers(ids.map((id) => values.get(id) ?? Number.NaN)),
        marker: { color: SERIES_COLORS[index] },
        customdata: ids.map((id) => ['lm_head', rank(side === 'reference' ? reference : tested, id)]),
        hovertemplate: '%{x}<br>logit %{y:.4f}, %{customdata[1]}<extra></extra>',
      })),
      {
        type: 'bar',
        name: 'tested − reference',
        showlegend: false,
        x: labels,
        y: differences,
        yaxis: 'y2',
        marker: { color: NEUTRAL_COLOR },
        customdata: ids.map(() => ['lm_head']),
        hovertemplate: '%{x}<br>tested − reference %{y:.2e}<extra></extra>',
      },
    ],
    layout: {
      title: titled(
        title,
        report.metrics === null
          ? ''
          : `variance NMSE ${formatError(report.metrics.nmseVariance)}: ${report.band ?? 'not judged, logits are NaN or infinite'}`,
      ),
      barmode: 'group',
      xaxis: { title: { text: 'token' }, type: 'category', anchor: 'y2' },
      yaxis: { title: { text: 'logit' }, domain: [0.36, 1] },
      yaxis2: { title: { text: 'difference' }, domain: [0, 0.28], exponentformat: 'power', nticks: 4 },
      height: 520,
      ...legendAbove(2),
    },
  };
}
