import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { NEUTRAL_COLOR } from '../theme.js';

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

/** Room for title and axes, and for each row. */
const [FRAME_PIXELS, ROW_PIXELS] = [170, 30];
/** Left: sizes. Right: errors. */
const PANELS = [
  [0, 0.34],
  [0.38, 1],
] as const;

/**
 * What weight types cost, the largest file at the top: file size (left, linear) and error of the logits and,
 * where known, KL divergence (right, logarithmic). What is as small and further left is better.
 *
 * @throws `BAD_ARGUMENT` without rows.
 */
export function quantisationCost(rows: readonly QuantisationRow[], options: { title?: string } = {}): Figure {
  requireSome('quantisationCost', 'rows of weight types', rows.length);
  const sorted = [...rows].sort((a, b) => b.sizeBytes - a.sizeBytes);
  const diverging = sorted.filter((row) => row.kl !== undefined);
  const [errors, kl] = logValues([sorted.map(({ nmse }) => nmse), diverging.map((row) => row.kl!)]);
  const megabytes = ({ sizeBytes }: QuantisationRow) => sizeBytes / 1e6;
  const size = (row: QuantisationRow) => `${megabytes(row).toPrecision(3)} MB`;
  const hover = (row: QuantisationRow) =>
    [
      `<b>${plainText(row.type)}</b>, ${size(row)}`,
      `energy NMSE of the logits ${formatError(row.nmse)}`,
      ...(row.kl === undefined ? [] : [`KL ${formatError(row.kl)} nats a token`]),
      ...(row.top1 === undefined ? [] : [`most likely token the same: ${(100 * row.top1).toFixed(1)} %`]),
      ...(row.flipped === undefined
        ? []
        : [`experts flipped: ${row.flipped}${row.choices === undefined ? '' : ` of ${row.choices}`}`]),
    ].join('<br>');
  const common = (of: readonly QuantisationRow[]) => ({
    y: of.map(({ type }) => plainText(type)),
    hovertext: of.map(hover),
    hoverinfo: 'text',
  });
  const series = [
    { name: 'energy NMSE of the logits', of: sorted, values: errors!, symbol: 'circle' },
    { name: 'KL divergence, nats a token', of: diverging, values: kl!, symbol: 'diamond-open' },
  ].filter(({ of }) => of.length > 0);
  const title = options.title ?? 'What each weight type costs';
  return {
    name: 'quantisation-cost',
    title,
    description: `${rows.length} weight types by file size and error: ${sorted.map((row) => `${row.type} ${size(row)} ${formatError(row.nmse)}`).join(', ')}.`,
    data: [
      {
        type: 'bar',
        orientation: 'h',
        name: 'file size',
        showlegend: false,
        x: sorted.map(megabytes),
        text: sorted.map(size),
        textposition: 'auto',
        marker: { color: NEUTRAL_COLOR },
        ...common(sorted),
      },
      ...series.map(({ name, of, values, symbol }, index) => ({
        type: 'scatter',
        mode: 'markers',
        name,
        x: values.drawn,
        xaxis: 'x2',
        marker: {
          size: 10,
          symbol,
          // Colours stand for weight types elsewhere; here the marks tell the two errors apart.
          color: NEUTRAL_COLOR,
          line: { width: index === 0 ? 0 : 2, color: NEUTRAL_COLOR },
        },
        ...common(of),
      })),
    ],
    layout: {
      title: titled(title, unseen(series.map(({ values }) => values))),
      xaxis: { title: { text: 'file size, MB' }, domain: PANELS[0], rangemode: 'tozero' },
      xaxis2: {
        ...logAxis(
          'error',
          series.map(({ values }) => values),
        ),
        domain: PANELS[1],
        anchor: 'y',
      },
      yaxis: {
        title: { text: 'weight type', standoff: 12 },
        type: 'category',
        autorange: 'reversed',
        ticksuffix: ' ',
      },
      ...legendAbove(series.length),
      height: FRAME_PIXELS + ROW_PIXELS * rows.length,
    },
  };
}
