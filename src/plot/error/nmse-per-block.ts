import type { DiffReport } from '../../diff/report.js';
import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { boundNote, nonFiniteNote, orderNote } from '../report-notes.js';
import { requireSome } from '../require-some.js';
import { seriesColors } from '../theme.js';
import { type NoiseSource, noiseBand, noiseErrors, noiseName } from './error-series.js';
import { hiddenLines } from './hidden-lines.js';

/**
 * Which error of a block {@link nmsePerBlock} draws: of the last value that it passes on, or the largest of
 * any.
 */
export type BlockError = 'last' | 'worst';

/** A run of {@link nmsePerBlock}. */
export interface BlockRun {
  label: string;
  report: DiffReport;
  /** Place of its colour in the palette, to be the same in several figures. Default: its own place. */
  color?: number;
  /**
   * What `locate` found of its routing: where tokens took another expert, a dashed line shows the error of
   * the others alone.
   */
  routing?: {
    readonly flipped: number;
    readonly blocks: readonly { readonly block: number; readonly sameNmse: number | null }[];
  } | null;
}

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
export function nmsePerBlock(runs: readonly BlockRun[], options: NmsePerBlockOptions = {}): Figure {
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
  const kept = runs.map(({ routing }) =>
    which === 'last' && routing != null && routing.flipped > 0
      ? routing.blocks.flatMap(({ block, sameNmse }) =>
          sameNmse === null || !place.has(String(block)) ? [] : [{ block: String(block), nmse: sameNmse }],
        )
      : [],
  );
  const [band, low, ...all] = logValues([
    noisy.map(({ high }) => high),
    noisy.map((point) => point.low),
    ...series.map(({ rows }) => rows.map(({ nmse }) => nmse)),
    ...kept.map((rows) => rows.map(({ nmse }) => nmse)),
  ]);
  const [drawn, drawnKept] = [all.slice(0, series.length), all.slice(series.length)];
  const colors = seriesColors(runs);
  const traces = series.map(({ label, rows }, index) => {
    const color = colors[index]!;
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
  const same = series.flatMap(({ label }, index) => {
    const rows = kept[index]!;
    if (rows.length === 0) return [];
    const color = colors[index]!;
    const values = drawnKept[index]!;
    return [
      {
        type: 'scatter',
        mode: 'lines+markers',
        name: `${label}, tokens that kept their experts`,
        x: rows.map(({ block }) => place.get(block)!),
        y: values.drawn,
        line: { color, width: 1.5, dash: 'dash' },
        marker: { color, size: 6, symbol: 'circle-open' },
        hovertext: rows.map(
          ({ block }, at) =>
            `block ${block}, tokens that have kept their experts<br>energy NMSE ${values.text[at]!}`,
        ),
        hoverinfo: 'text',
      },
    ];
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
    data: [
      ...(noisy.length === 0 ? [] : noiseBand(noisy, band!, low!, noiseName(options.noise))),
      ...traces,
      ...same,
    ],
    layout: {
      title: titled(
        title,
        unseen(drawn),
        hiddenLines(series.map(({ label, rows }) => ({ label, values: rows.map(({ nmse }) => nmse) }))),
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
      ...legendAbove(runs.length + same.length + (noisy.length === 0 ? 0 : 1)),
    },
  };
}
