import type { WeightsDiffReport } from '../../weights-diff/diff-weights.js';
import type { Figure } from '../figure.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { seriesColors } from '../theme.js';

/** The weights of one model against the reference's. */
export interface WeightErrors {
  /** Name in the legend, e.g. `q4_0`. */
  label: string;
  report: WeightsDiffReport;
}

/** Options of {@link weightErrors}. */
export interface WeightErrorsOptions {
  title?: string;
  /** Draws tensors that are the same on every side too. Default false. */
  identical?: boolean;
}

/** Symbols of models. */
const SYMBOLS = ['circle', 'diamond', 'square', 'triangle-up', 'cross', 'x'];

interface Row {
  tensor: string;
  kind: string;
  block: string;
  nmse: number;
  dtypes: string;
}

/**
 * Energy NMSE of every weight tensor, by kind of tensor (its name without the block): what a conversion or a
 * quantisation did to each. Several models stand side by side; a point is a tensor. Kinds come in
 * alphabetical order; tensors with the same bits everywhere are left out unless asked for.
 *
 * @throws `BAD_ARGUMENT` without a tensor to draw.
 */
export function weightErrors(models: readonly WeightErrors[], options: WeightErrorsOptions = {}): Figure {
  const changed = new Set(
    models.flatMap(({ report }) => report.tensors.flatMap(({ name, identical }) => (identical ? [] : name))),
  );
  const series = models.map(({ label, report }) => ({
    label,
    rows: report.tensors
      .filter(({ name }) => options.identical === true || changed.has(name))
      .map(
        ({ name, metrics, dtypes }): Row => ({
          tensor: name,
          ...kindOf(name),
          nmse: metrics.nmse,
          dtypes: `${dtypes.reference} → ${dtypes.tested}`,
        }),
      ),
  }));
  const kinds = [...new Set(series.flatMap(({ rows }) => rows.map(({ kind }) => kind)))].sort();
  requireSome('weightErrors', 'models with a tensor that differs', kinds.length);
  const place = new Map(kinds.map((kind, index) => [kind, index]));
  const values = logValues(series.map(({ rows }) => rows.map(({ nmse }) => nmse)));
  const colors = seriesColors(models);
  const title = options.title ?? 'Error of every weight tensor';
  return {
    name: 'weight-errors',
    title,
    description: `Energy NMSE of ${changed.size} weight tensors of ${kinds.length} kinds: ${models.map(({ label }) => label).join(', ')}.`,
    data: series.map(({ label, rows }, index) => ({
      type: 'scatter',
      mode: 'markers',
      name: plainText(label),
      x: rows.map(({ kind }) => place.get(kind)! + lane(index, series.length)),
      y: values[index]!.drawn,
      marker: { size: 8, color: colors[index]!, symbol: SYMBOLS[index % SYMBOLS.length]!, opacity: 0.75 },
      customdata: rows.map(({ tensor, block, dtypes }, at) => [
        tensor,
        values[index]!.text[at]!,
        block,
        plainText(dtypes),
      ]),
      hovertemplate: `%{customdata[0]}<br>energy NMSE %{customdata[1]}, block %{customdata[2]}<br>%{customdata[3]}<extra>${plainText(label)}</extra>`,
    })),
    layout: {
      title: titled(title, 'a point is a tensor', unseen(values)),
      xaxis: {
        title: { text: 'kind of tensor' },
        tickvals: kinds.map((_, at) => at),
        ticktext: kinds.map(plainText),
        tickangle: -35,
        range: [-0.6, kinds.length - 0.4],
        automargin: true,
      },
      yaxis: logAxis('energy NMSE of the weights'),
      legend: { orientation: 'h', x: 1, xanchor: 'right', y: 1.02, yanchor: 'bottom' },
      height: 520,
    },
  };
}

/** Where a series stands within its kind: side by side, centred. */
function lane(index: number, count: number): number {
  return count === 1 ? 0 : (index / (count - 1) - 0.5) * 0.6;
}

function kindOf(tensor: string): { kind: string; block: string } {
  const match = /^model\.layers\.(\d+)\.(.+)$/.exec(tensor);
  return match === null ? { kind: tensor, block: 'none' } : { kind: match[2]!, block: match[1]! };
}
