import type { Figure } from './figure.js';
import { legendAbove } from './legend.js';
import { formatError, logAxis, logValues, plainText, titled, unseen } from './log-values.js';
import { requireSome } from './require-some.js';
import { SERIES_COLORS } from './theme.js';

/** What one weight type costs. */
export interface QuantisationRow {
  /** Weight type, e.g. `q4_k_m`. */
  type: string;
  sizeBytes: number;
  /** Energy NMSE of the logits against the reference. */
  nmse: number;
  /** Mean KL divergence from the reference, nats a token. */
  kl?: number;
  /** Share of tokens with the same most likely token, 0 to 1. */
  top1?: number;
  /** Choices of experts that differ, and all. */
  flipped?: number;
  choices?: number;
}

/**
 * What weight types cost: file size (x) against the error of the logits and, where known, the KL divergence. Types to the lower left are better in both.
 *
 * @throws `BAD_ARGUMENT` without rows.
 */
export function quantisationCost(rows: readonly QuantisationRow[], options: { title?: string } = {}): Figure {
  requireSome('quantisationCost', 'rows of weight types', rows.length);
  const divergences = rows.filter((row) => row.kl !== undefined);
  const [errors, kl] = logValues([rows.map(({ nmse }) => nmse), divergences.map((row) => row.kl!)]);
  const title = options.title ?? 'What each weight type costs';
  const details = (of: readonly QuantisationRow[], text: readonly string[]) =>
    of.map(({ type, top1, flipped, choices }, at) => [
      '',
      text[at]!,
      plainText(type),
      top1 === undefined ? 'unknown' : `${(100 * top1).toFixed(1)} %`,
      flipped === undefined ? 'unknown' : `${flipped}${choices === undefined ? '' : ` of ${choices}`}`,
    ]);
  const series = [
    { name: 'energy NMSE of the logits', of: rows, values: errors!, symbol: 'circle', axis: 'y' },
    ...(divergences.length > 0
      ? [{ name: 'KL, nats a token', of: divergences, values: kl!, symbol: 'diamond-open', axis: 'y' }]
      : []),
  ];
  return {
    name: 'quantisation-cost',
    title,
    description: `${rows.length} weight types by file size and error: ${rows.map(({ type, nmse }) => `${type} ${formatError(nmse)}`).join(', ')}.`,
    data: series.map(({ name, of, values, symbol }, index) => ({
      type: 'scatter',
      ...(index === 0
        ? { mode: 'markers+text', text: of.map(({ type }) => plainText(type)), textposition: 'top center' }
        : { mode: 'markers' }),
      name,
      x: of.map(({ sizeBytes }) => sizeBytes / 2 ** 20),
      y: values.drawn,
      marker: { size: 11, symbol, color: SERIES_COLORS[index], line: { width: 2 } },
      customdata: details(of, values.text),
      hovertemplate: `%{customdata[2]}, %{x:.1f} MiB<br>${name} %{customdata[1]}<br>top-1 the same: %{customdata[3]}<br>experts flipped: %{customdata[4]}<extra></extra>`,
      cliponaxis: false,
    })),
    layout: {
      title: titled(title, unseen([errors!])),
      xaxis: { title: { text: 'file size, MiB' }, rangemode: 'tozero' },
      yaxis: logAxis('error'),
      ...legendAbove(series.length),
    },
  };
}
