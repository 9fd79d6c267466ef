import { type DiffReport, type TapReport, tapError } from '../../diff/report.js';
import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { boundNote, nonFiniteNote } from '../report-notes.js';
import { requireSome } from '../require-some.js';
import { SERIES_COLORS } from '../theme.js';

/**
 * Metrics that {@link metricByKind} draws: all are 0 without error and span decades. Bounds from statistics
 * stand for the energy NMSE alone.
 */
export const KIND_METRICS = {
  nmse: 'energy NMSE',
  nmseVariance: 'variance NMSE',
  mse: 'mean squared error',
  mae: 'mean absolute error',
  maxAbs: 'largest absolute error',
  relativeLinf: 'largest absolute error over largest value',
} as const;

/** One of {@link KIND_METRICS}. */
export type KindMetric = keyof typeof KIND_METRICS;

/** Options of {@link metricByKind}. */
export interface MetricByKindOptions {
  title?: string;
  /** Default `nmse`. */
  metric?: KindMetric;
  /**
   * What makes a row: a module (`self_attn`, with all its values; default) or a value
   * (`self_attn:attn_weights`).
   */
  by?: 'module' | 'value';
  /** Keeps the kinds for which it is true. Default: all. */
  kinds?: (kind: string) => boolean;
}

interface Entry {
  tap: TapReport;
  error: number;
}

/** Room for title and axis, and for each row. */
const [FRAME_PIXELS, ROW_PIXELS] = [150, 21];

/**
 * An error by kind of module or value: a box and its points, one for each value and block, on a logarithmic
 * axis. Which kinds err everywhere, and which only somewhere. Kinds come in execution order from the top;
 * what is exactly 0 stands at the left, outside the boxes.
 *
 * @throws `BAD_ARGUMENT` for a report without a tap that has the metric.
 */
export function metricByKind(report: DiffReport, options: MetricByKindOptions = {}): Figure {
  const { metric = 'nmse', by = 'module', kinds: isKept = () => true } = options;
  const kinds = new Map<string, Entry[]>();
  for (const tap of report.tapReports) {
    const error = errorOf(tap, metric);
    if (error === null) continue;
    const kind = kindOf(tap.name, by);
    if (isKept(kind)) kinds.set(kind, [...(kinds.get(kind) ?? []), { tap, error }]);
  }
  requireSome('metricByKind', `a report with taps that have ${metric}`, kinds.size);
  const entries = [...kinds].flatMap(([kind, list]) => list.map((entry) => ({ kind, ...entry })));
  const [values] = logValues([entries.map(({ error }) => error)]);
  const traceOf = (isZero: boolean) => {
    const picked = entries.flatMap((entry, at) => ((entry.error === 0) === isZero ? [at] : []));
    return {
      x: picked.map((at) => values!.drawn[at]!),
      y: picked.map((at) => plainText(entries[at]!.kind)),
      customdata: picked.map((at) => entries[at]!.tap.name),
      hovertext: picked.map((at) => {
        const { name, block } = entries[at]!.tap;
        const place = block === null ? 'outside the blocks' : `block ${block}`;
        return `${plainText(name)}<br>${KIND_METRICS[metric]} ${values!.text[at]}, ${place}`;
      }),
      hoverinfo: 'text',
      showlegend: false,
    };
  };
  const title = options.title ?? `${capitalised(KIND_METRICS[metric])} by kind of ${by}`;
  const worst = entries.reduce((a, b) => (b.error > a.error ? b : a));
  return {
    name: 'metric-by-kind',
    title,
    description: `${capitalised(KIND_METRICS[metric])} of ${entries.length} values of ${kinds.size} kinds; the largest is ${formatError(worst.error)} at ${worst.tap.name}.`,
    data: [
      {
        type: 'box',
        orientation: 'h',
        boxpoints: 'all',
        jitter: 0.5,
        pointpos: 0,
        hoveron: 'points',
        line: { width: 1, color: SERIES_COLORS[0] },
        fillcolor: 'rgba(0,128,200,0.18)',
        marker: { size: 5, opacity: 0.75, color: SERIES_COLORS[1] },
        ...traceOf(false),
      },
      {
        type: 'scatter',
        mode: 'markers',
        marker: { size: 7, symbol: 'circle-open', color: SERIES_COLORS[1] },
        ...traceOf(true),
      },
    ].filter(({ x }) => x.length > 0),
    layout: {
      title: titled(
        title,
        'one point a block and value',
        unseen([values!]),
        boundNote([report]),
        nonFiniteNote([report]),
      ),
      xaxis: logAxis(KIND_METRICS[metric], [values!]),
      yaxis: {
        title: { text: `${by}, in execution order`, standoff: 12 },
        type: 'category',
        autorange: 'reversed',
        categoryorder: 'array',
        categoryarray: [...kinds.keys()].map(plainText),
        ticksuffix: ' ',
        dtick: 1,
      },
      height: FRAME_PIXELS + ROW_PIXELS * kinds.size,
    },
  };
}

function errorOf(tap: TapReport, metric: KindMetric): number | null {
  if (metric === 'nmse') return tapError(tap);
  return tap.kind === 'float' ? tap.metrics[metric] : null;
}

function kindOf(name: string, by: 'module' | 'value'): string {
  const kind = name.replace(/^layers\.\d+\.?/, '') || 'block output';
  return by === 'value' ? kind : kind.replace(/:.*$/, '').replace(/^$/, 'block output');
}

function capitalised(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
