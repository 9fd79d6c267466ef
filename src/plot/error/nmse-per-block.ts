import type { DiffReport } from '../../diff/report.js';
import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { boundNote, nonFiniteNote, orderNote } from '../report-notes.js';
import { requireSome } from '../require-some.js';
import { SERIES_COLORS } from '../theme.js';
import { type NoiseSource, noiseBand, noiseErrors } from './error-series.js';

/**
 * Which error of a block {@link nmsePerBlock} draws: of the last value that it passes on, or the largest of
 * any.
 */
export type BlockError = 'last' | 'worst';

/** Options of {@link nmsePerBlock}. */
export interface NmsePerBlockOptions {
  title?: string;
  /** Drawn as a band from the bottom to the noise of the value that the first run shows. */
  noise?: NoiseSource;
  /** Default `last`; always `worst` where the order of a report is not known. */
  error?: BlockError;
}

/** Labels of blocks below the axis, at most. */
const MOST_LABELS = 24;

/**
 * Energy NMSE per block: of its output or of its worst value. The plot of the public port's thread. Exact
 * zeros stand at the bottom.
 *
 * @throws `BAD_ARGUMENT` without a run that has a floating tap.
 */
export function nmsePerBlock(
  runs: readonly { label: string; report: DiffReport }[],
  options: NmsePerBlockOptions = {},
): Figure {
  // What a block passes on is not known without an order.
  const isOrdered = orderNote(runs.map(({ report }) => report)) === '';
  const which = isOrdered ? (options.error ?? 'last') : 'worst';
  const series = runs.map(({ label, report }) => ({
    label: plainText(label),
    rows: report.blocks.flatMap((entry) => {
      const found = entry[which];
      return found === null ? [] : [{ block: entry.label, tap: found.tap, nmse: found.nmse }];
    }),
  }));
  const labels = [...new Set(series.flatMap(({ rows }) => rows.map(({ block }) => block)))];
  requireSome('nmsePerBlock', 'a run with floating taps', labels.length);
  const place = new Map(labels.map((label, index) => [label, index]));
  const noise = noiseErrors(options.noise);
  const noisy = series[0]!.rows.flatMap(({ block, tap }) =>
    noise.has(tap) ? [{ tap, x: place.get(block)!, ...noise.get(tap)! }] : [],
  );
  const [band, low, ...drawn] = logValues([
    noisy.map(({ high }) => high),
    noisy.map((point) => point.low),
    ...series.map(({ rows }) => rows.map(({ nmse }) => nmse)),
  ]);
  const traces = series.map(({ label, rows }, index) => {
    const color = SERIES_COLORS[index % SERIES_COLORS.length]!;
    return {
      type: 'scatter',
      mode: 'lines+markers',
      name: label,
      x: rows.map(({ block }) => place.get(block)!),
      y: drawn[index]!.drawn,
      line: { color, width: 2 },
      marker: { color, size: 8 },
      customdata: rows.map(({ tap, block }, at) => [tap, drawn[index]!.text[at]!, block]),
      hovertemplate: `block %{customdata[2]}<br>%{customdata[0]}<br>energy NMSE %{customdata[1]}<extra>${label}</extra>`,
    };
  });
  const step = Math.ceil(labels.length / MOST_LABELS);
  const labelled = labels
    .map((label, at) => ({ label, at }))
    .filter(({ label }) => !(Number(label) % step > 0));
  const title =
    options.title ?? (which === 'last' ? 'Error that each block passes on' : 'Worst error inside each block');
  return {
    name: 'nmse-per-block',
    title,
    description: `Energy NMSE of ${labels.length} blocks of ${runs.map(({ label }) => label).join(', ')}, on a logarithmic axis.`,
    data: [...(noisy.length === 0 ? [] : noiseBand(noisy, band!, low!)), ...traces],
    layout: {
      title: titled(
        title,
        unseen(drawn),
        boundNote(runs.map(({ report }) => report)),
        nonFiniteNote(runs.map(({ report }) => report)),
        orderNote(runs.map(({ report }) => report)),
      ),
      xaxis: {
        title: { text: 'block' },
        tickvals: labelled.map(({ at }) => at),
        ticktext: labelled.map(({ label }) => label),
        tickangle: 0,
      },
      yaxis: logAxis('energy NMSE', [band!, ...drawn]),
      ...legendAbove(runs.length + (noisy.length === 0 ? 0 : 1)),
    },
  };
}
