import { type DiffReport, type TapReport, tapError } from '../diff/report.js';
import type { LocateReport } from '../locate/locate-report.js';
import type { Figure, Trace } from './figure.js';
import { legendAbove } from './legend.js';
import { type LogValues, logAxis, logValues, plainText, titled, unseen } from './log-values.js';
import { requireSome } from './require-some.js';
import { NOISE_COLOR, SERIES_COLORS } from './theme.js';

/** One run in a figure of errors. */
export interface ErrorSeries {
  /** Name in the legend. */
  label: string;
  report: DiffReport;
  /** Adds what each op errs by itself, dotted. */
  locate?: LocateReport;
}

/** Options of {@link nmsePerTap}. */
export interface NmsePerTapOptions {
  title?: string;
  /** Diff of the reference's own low-precision run: drawn as a band from the bottom to its error. */
  noise?: DiffReport;
}

interface Point {
  tap: string;
  block: number | null;
}

/**
 * Energy NMSE of every floating tap in execution order (x, blocks marked), on a logarithmic axis: how error gathers, where it jumps, and against a noise floor whether that is the dtype's own. Several
 * runs overlay; taps are joined by name, in the order of the first. Exact zeros are left out and counted.
 *
 * @throws `BAD_ARGUMENT` without a run that has a floating tap.
 */
export function nmsePerTap(runs: readonly ErrorSeries[], options: NmsePerTapOptions = {}): Figure {
  const points = inOrder(runs.map(({ report }) => report));
  requireSome('nmsePerTap', 'a run with floating taps', points.length);
  const place = new Map(points.map(({ tap }, index) => [tap, index]));
  const series = runs.flatMap(({ label, report, locate }, run) => {
    const color = SERIES_COLORS[run % SERIES_COLORS.length]!;
    const whole = errors(report.tapReports);
    const local = new Map(
      (locate?.ops ?? []).flatMap(({ tap, local: error }) =>
        error !== null && whole.has(tap) ? [[tap, error] as const] : [],
      ),
    );
    return [
      { name: label, color, values: whole, isLocal: false },
      ...(local.size > 0
        ? [{ name: `${label}: of the op itself`, color, values: local, isLocal: true }]
        : []),
    ];
  });
  const floor = options.noise === undefined ? new Map<string, number>() : errors(options.noise.tapReports);
  const [noise, ...drawn] = logValues([
    [...floor.values()],
    ...series.map(({ values }) => [...values.values()]),
  ]);
  const traces: Trace[] = [];
  if (floor.size > 0) traces.push(...noiseBand([...floor.keys()], noise!, place));
  for (const [index, { name, color, values, isLocal }] of series.entries()) {
    // A line that falls to the bottom at every copied value would hide the rest: zeros are left out of it, unless there is nothing else.
    const places = [...values].map(([tap, value], at) => ({ tap, value, at }));
    const shown = places.filter(({ value }) => value !== 0 || places.every((other) => other.value === 0));
    const taps = shown.map(({ tap }) => tap);
    const y = shown.map(({ at }) => drawn[index]!.drawn[at]!);
    const text = shown.map(({ at }) => drawn[index]!.text[at]!);
    traces.push({
      type: 'scatter',
      mode: isLocal ? 'markers' : 'lines+markers',
      name: plainText(name),
      x: taps.map((tap) => place.get(tap)!),
      y,
      ...(isLocal ? {} : { line: { color, width: 1.2 } }),
      marker: isLocal ? { color, size: 6, symbol: 'circle-open' } : { color, size: 4 },
      customdata: taps.map((tap, at) => [tap, text[at]!, blockLabel(points[place.get(tap)!]!.block)]),
      hovertemplate: `%{customdata[0]}<br>${isLocal ? 'own error' : 'energy NMSE'} %{customdata[1]}, block %{customdata[2]}<extra>${plainText(name)}</extra>`,
    });
  }
  const blocks = blockStarts(points);
  return {
    name: 'nmse-per-tap',
    title: options.title ?? 'Error of every value, in execution order',
    description: `Energy NMSE of ${points.length} values of ${runs.map(({ label }) => label).join(', ')}, on a logarithmic axis over execution order.`,
    data: traces,
    layout: {
      title: titled(options.title ?? 'Error of every value, in execution order', unseen(drawn, 'left out')),
      xaxis: {
        title: { text: 'value, in execution order; ticks: first of each block' },
        tickvals: blocks.map(({ at }) => at),
        ticktext: blocks.map(({ label }) => label),
        range: [-1, points.length],
      },
      yaxis: logAxis('energy NMSE'),
      ...legendAbove(traces.length),
      height: 480,
    },
  };
}

/** Which error of a block {@link nmsePerBlock} draws: of the last value that it passes on, or the largest of any. */
export type BlockError = 'last' | 'worst';

/**
 * Energy NMSE per block: of its output (`last`, default) or of its worst value. The plot of the public port's thread. A noise floor is drawn as a band.
 *
 * @throws `BAD_ARGUMENT` without a run that has a block with a floating tap.
 */
export function nmsePerBlock(
  runs: readonly { label: string; report: DiffReport }[],
  options: NmsePerTapOptions & { error?: BlockError } = {},
): Figure {
  const which = options.error ?? 'last';
  const byBlock = ({ blocks }: DiffReport) =>
    blocks.flatMap((entry) => {
      const found = entry[which];
      return found === null ? [] : [{ label: entry.label, tap: found.tap, nmse: found.nmse }];
    });
  const series = runs.map(({ label, report }) => ({ label, rows: byBlock(report) }));
  const labels = [...new Set(series.flatMap(({ rows }) => rows.map(({ label }) => label)))];
  requireSome('nmsePerBlock', 'a run with floating taps', labels.length);
  const noiseRows = options.noise === undefined ? [] : byBlock(options.noise);
  const [noise, ...drawn] = logValues([
    noiseRows.map(({ nmse }) => nmse),
    ...series.map(({ rows }) => rows.map(({ nmse }) => nmse)),
  ]);
  const order = new Map(labels.map((label, index) => [label, index]));
  const traces: Trace[] = [];
  if (noiseRows.length > 0)
    traces.push(
      ...noiseBand(
        noiseRows.map(({ tap }) => tap),
        noise!,
        new Map(noiseRows.map(({ tap, label }) => [tap, order.get(label) ?? 0])),
      ),
    );
  for (const [index, { label, rows }] of series.entries()) {
    const color = SERIES_COLORS[index % SERIES_COLORS.length]!;
    traces.push({
      type: 'scatter',
      mode: 'lines+markers',
      name: plainText(label),
      x: rows.map((row) => order.get(row.label)!),
      y: drawn[index]!.drawn,
      line: { color, width: 2 },
      marker: { color, size: 8 },
      customdata: rows.map(({ tap, label: block }, at) => [tap, drawn[index]!.text[at]!, block]),
      hovertemplate: `block %{customdata[2]}<br>%{customdata[0]}<br>energy NMSE %{customdata[1]}<extra>${plainText(label)}</extra>`,
    });
  }
  const title =
    options.title ?? (which === 'last' ? 'Error that each block passes on' : 'Worst error inside each block');
  return {
    name: 'nmse-per-block',
    title,
    description: `Energy NMSE of ${labels.length} blocks of ${runs.map(({ label }) => label).join(', ')}, on a logarithmic axis.`,
    data: traces,
    layout: {
      title: titled(title, unseen(drawn)),
      xaxis: { title: { text: 'block' }, tickvals: labels.map((_, at) => at), ticktext: labels },
      yaxis: logAxis('energy NMSE'),
      ...legendAbove(traces.length),
    },
  };
}

function errors(taps: readonly TapReport[]): Map<string, number> {
  return new Map(
    taps.flatMap((tap) => {
      const error = tapError(tap);
      return error === null ? [] : [[tap.name, error] as const];
    }),
  );
}

function inOrder(reports: readonly DiffReport[]): Point[] {
  const points = new Map<string, Point>();
  for (const { tapReports } of reports)
    for (const tap of tapReports)
      if (tapError(tap) !== null && !points.has(tap.name))
        points.set(tap.name, { tap: tap.name, block: tap.block });
  return [...points.values()];
}

function noiseBand(taps: readonly string[], values: LogValues, place: ReadonlyMap<string, number>): Trace[] {
  const known = taps.flatMap((tap, at) => (place.has(tap) ? [{ tap, at, x: place.get(tap)! }] : []));
  const common = { type: 'scatter', mode: 'lines', line: { width: 0 }, x: known.map(({ x }) => x) };
  return [
    { ...common, y: known.map(() => values.floor), hoverinfo: 'skip', showlegend: false },
    {
      ...common,
      y: known.map(({ at }) => values.drawn[at]!),
      fill: 'tonexty',
      fillcolor: NOISE_COLOR,
      name: 'noise floor',
      customdata: known.map(({ tap, at }) => [tap, values.text[at]!]),
      hovertemplate: '%{customdata[0]}<br>noise floor %{customdata[1]}<extra></extra>',
    },
  ];
}

function blockStarts(points: readonly Point[]): { at: number; label: string }[] {
  const starts = points.flatMap(({ block }, at) =>
    at === 0 || block !== points[at - 1]!.block
      ? [{ at, label: at === 0 && block === null ? 'in' : blockLabel(block) }]
      : [],
  );
  const step = Math.ceil(starts.length / 24);
  return starts.filter((_, index) => index % step === 0 || index === starts.length - 1);
}

function blockLabel(block: number | null): string {
  return block === null ? 'out' : String(block);
}
