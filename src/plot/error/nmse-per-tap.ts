import { formatError } from '../../text-table.js';
import type { Figure, Trace } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { boundNote, nonFiniteNote, orderNote } from '../report-notes.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR, seriesColors } from '../theme.js';
import {
  commonOrder,
  type ErrorSeries,
  type NoiseLevel,
  type NoiseSource,
  noiseBand,
  noiseErrors,
  noiseName,
  type TapError,
  tapErrors,
} from './error-series.js';

/** Options of {@link nmsePerTap}. */
export interface NmsePerTapOptions {
  title?: string;
  /**
   * Drawn as a band from the bottom to the noise. Default: that of the first run whose `locate` measured one.
   */
  noise?: NoiseSource;
}

/** Labels of blocks below the axis, at most. */
const MOST_LABELS = 24;

/**
 * Energy NMSE of every floating tap in execution order (x, by block), on a logarithmic axis: how error
 * gathers, where it jumps, and against a noise floor whether that is the dtype's own. With a `locate` report
 * also what each op errs by itself (circles), and the ops at fault. Several runs overlay, joined by tap.
 * Exact zeros stand at the bottom, outside the lines; NaN and infinity at the top.
 *
 * @throws `BAD_ARGUMENT` without a run that has a floating tap.
 */
export function nmsePerTap(runs: readonly ErrorSeries[], options: NmsePerTapOptions = {}): Figure {
  const series = runs.map((run) => ({ label: plainText(run.label), entries: tapErrors(run) }));
  const points = commonOrder(series.map(({ entries }) => entries));
  requireSome('nmsePerTap', 'a run with floating taps', points.length);
  const place = new Map(points.map(({ tap }, index) => [tap, index]));
  const measured = runs.find(({ locate }) => locate?.noiseByTap)?.locate?.noiseByTap ?? undefined;
  const noise = noiseErrors(options.noise ?? measured);
  const noisy = points.flatMap(({ tap }, x) => (noise.has(tap) ? [{ tap, x, ...noise.get(tap)! }] : []));

  const colors = seriesColors(runs);
  const lines = series.flatMap(({ label, entries }, run) => {
    const color = colors[run]!;
    const judged = entries.filter(({ op }) => op !== null);
    const whole = { name: label, color, isLocal: false, entries, errors: entries.map(({ error }) => error) };
    const local = { name: `${label}: each op by itself`, color, isLocal: true, entries: judged };
    return judged.length === 0 ? [whole] : [whole, { ...local, errors: judged.map(({ op }) => op!.local) }];
  });
  const [band, low, ...drawn] = logValues([
    noisy.map(({ high }) => high),
    noisy.map((point) => point.low),
    ...lines.map(({ errors }) => errors),
  ]);
  const floor = band!.floor;
  const tops = [band!, ...drawn].flatMap((each) => each.drawn);
  const ceiling = 10 * tops.reduce<number>((a, b) => Math.max(a, b ?? 0), floor);

  const traces: Trace[] = noisy.length === 0 ? [] : noiseBand(noisy, band!, low!, noiseName(options.noise));
  const marks: Trace[] = [];
  for (const [index, { name, color, isLocal, entries, errors }] of lines.entries()) {
    const traceOf = (wanted: (error: number, entry: TapError) => boolean, at?: number): Trace => {
      const picked = entries.flatMap((entry, k) => (wanted(errors[k]!, entry) ? [k] : []));
      return {
        type: 'scatter',
        mode: 'markers',
        name,
        x: picked.map((k) => place.get(entries[k]!.tap)!),
        y: picked.map((k) => at ?? drawn[index]!.drawn[k]!),
        customdata: picked.map((k) => entries[k]!.tap),
        hovertext: picked.map((k) => hover(name, entries[k]!, noise.get(entries[k]!.tap))),
        hoverinfo: 'text',
      };
    };
    traces.push({
      ...traceOf((error) => error !== 0 && Number.isFinite(error)),
      ...(isLocal ? {} : { mode: 'lines+markers', line: { color, width: 1.2 } }),
      marker: isLocal ? { color, size: 5, symbol: 'circle-open' } : { color, size: 4 },
    });
    marks.push(
      {
        ...traceOf((error) => error === 0, floor),
        marker: { color, size: isLocal ? 6 : 5, symbol: isLocal ? 'line-ns-open' : 'circle-open' },
        showlegend: false,
      },
      {
        ...traceOf((error) => !Number.isFinite(error), ceiling),
        marker: { color: FAULT_COLOR, size: 9, symbol: 'x' },
        showlegend: false,
      },
    );
    if (isLocal)
      marks.push({
        ...traceOf((error, { op }) => op!.verdict === 'fault' && error !== 0 && Number.isFinite(error)),
        name: `${name}, at fault`,
        marker: { color: FAULT_COLOR, size: 9, symbol: 'diamond', line: { color, width: 1.5 } },
      });
  }
  const shown = [...traces, ...marks.filter(({ x }) => (x as number[]).length > 0)];
  const blocks = blockSpans(points);
  const title = options.title ?? 'Error of every value, in execution order';
  const worst = series.map(({ label, entries }) => {
    const most = entries.reduce<TapError | undefined>(
      (a, b) => (a && !(b.error > a.error) ? a : b),
      undefined,
    );
    return most === undefined ? label : `${label} at most ${formatError(most.error)}, at ${most.tap}`;
  });
  return {
    name: 'nmse-per-tap',
    title,
    description: `Energy NMSE of ${points.length} values in execution order, on a logarithmic axis: ${worst.join('; ')}.`,
    data: shown,
    layout: {
      title: titled(
        title,
        unseen(drawn, 'at the bottom', 'at the top'),
        boundNote(runs.map(({ report }) => report)),
        nonFiniteNote(runs.map(({ report }) => report)),
        orderNote(runs.map(({ report }) => report)),
      ),
      xaxis: {
        title: { text: 'block; values in execution order' },
        tickvals: blocks.labels.map(({ at }) => at),
        ticktext: blocks.labels.map(({ label }) => label),
        tickangle: 0,
        ticks: '',
        range: [-1, points.length],
        showgrid: false,
      },
      yaxis: logAxis('energy NMSE', [band!, ...drawn]),
      shapes: blocks.borders.map((x) => ({
        type: 'line',
        layer: 'below',
        x0: x,
        x1: x,
        yref: 'paper',
        y0: 0,
        y1: 1,
        line: { width: 1, color: 'rgba(128,128,128,0.25)' },
      })),
      ...legendAbove(shown.filter(({ showlegend }) => showlegend !== false).length),
      height: 480,
    },
  };
}

function hover(series: string, { tap, block, error, op }: TapError, noise: NoiseLevel | undefined): string {
  const say = (value: number) => (value === 0 ? 'exactly 0' : formatError(value));
  const lines = [
    `<b>${plainText(tap)}</b>`,
    `${series}${block === null ? '' : `, block ${block}`}`,
    `energy NMSE ${say(error)}`,
  ];
  if (op !== null)
    lines.push(
      `op by itself ${say(op.local)}${op.limit === null ? '' : `, limit ${formatError(op.limit)}`}: ${op.verdict}`,
    );
  if (noise !== undefined)
    lines.push(`noise floor ${noise.low === 0 ? '' : `${say(noise.low)} to `}${say(noise.high)}`);
  return lines.join('<br>');
}

/** Where blocks begin, and labels at their middles, thinned out where there are many. */
function blockSpans(points: readonly TapError[]): {
  borders: number[];
  labels: { at: number; label: string }[];
} {
  const starts = points.flatMap(({ block }, at) => (at === 0 || block !== points[at - 1]!.block ? [at] : []));
  const step = Math.ceil(starts.length / MOST_LABELS);
  const labels = starts.flatMap((start, index) => {
    const { block } = points[start]!;
    if (block === null || block % step !== 0) return [];
    return [{ at: (start + (starts[index + 1] ?? points.length) - 1) / 2, label: String(block) }];
  });
  return { borders: starts.slice(1).map((at) => at - 0.5), labels };
}
