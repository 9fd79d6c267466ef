import type { LocateReport } from '../../locate/faults/report.js';
import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { plainText, titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR } from '../theme.js';

/**
 * Which kinds of op the final error comes from, as `locate` estimates it: one bar a kind, the largest on top;
 * the hover says what the op errs by itself. Blocks add up within a kind. A click copies the tap of the
 * kind's worst block.
 *
 * @throws `BAD_ARGUMENT` for a report without an op at fault, or one made without a model, which knows no
 * shares.
 */
export function errorShares(report: LocateReport, options: { title?: string } = {}): Figure {
  const kinds = report.kinds
    .flatMap((kind) => (kind.share === null ? [] : [{ ...kind, share: kind.share }]))
    .sort((a, b) => a.share - b.share);
  requireSome('errorShares', 'a report with ops at fault and a model to recompute them', kinds.length);
  const title = options.title ?? 'Where the final error comes from';
  const largest = kinds.at(-1)!;
  return {
    name: 'error-shares',
    title,
    description: `Share of the error of ${report.final.tap} by kind of op; the largest is ${largest.name} with ${percent(largest.share)}.`,
    data: [
      {
        type: 'bar',
        orientation: 'h',
        x: kinds.map(({ share }) => 100 * share),
        y: kinds.map(({ kind }) => plainText(kind.replace(/^\./, ''))),
        marker: { color: FAULT_COLOR },
        text: kinds.map(({ share }) => percent(share)),
        textposition: 'outside',
        cliponaxis: false,
        customdata: kinds.map(({ worst, name, largest, median, blocks }) => [
          worst,
          plainText(name),
          formatError(largest),
          formatError(median),
          blocks.length,
        ]),
        hovertemplate:
          '%{customdata[1]}<br>%{x:.1f} % of the final error<br>own error, energy NMSE: largest %{customdata[2]} (%{customdata[0]}), median %{customdata[3]}, %{customdata[4]} blocks<extra></extra>',
      },
    ],
    layout: {
      title: titled(
        title,
        `${report.final.tap}: energy NMSE ${formatError(report.final.nmse)}; shares are estimates`,
      ),
      xaxis: { title: { text: 'share of the final error, %' }, rangemode: 'tozero' },
      yaxis: { title: { text: 'kind of op', standoff: 16 }, automargin: true },
      showlegend: false,
      height: 160 + 30 * kinds.length,
    },
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.01 ? 2 : 1)} %`;
}
