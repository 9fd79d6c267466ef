import { type DiffReport, tapError } from '../../diff/report.js';
import { FAMILIES } from '../../families/families.js';
import { hasRole } from '../../families/roles.js';
import type { LocatedOp, LocateReport } from '../../locate/faults/report.js';
import type { TapNoise } from '../../locate/noise/noise-floor.js';
import type { Trace } from '../figure.js';
import { type LogValues, plainText } from '../log-values.js';
import { NOISE_COLOR } from '../theme.js';

/** One run in a figure of errors: a diff, what `locate` found, or both. */
export interface ErrorSeries {
  /** Name in the legend. */
  label: string;
  /** Place of its colour in the palette, to be the same in several figures. Default: its own place. */
  color?: number;
  /** Where it is missing, errors are the cumulative ones of `locate`. */
  report?: DiffReport;
  /** Adds what each op errs by itself, and marks those at fault. */
  locate?: LocateReport;
}

/** Noise of the reference itself: the diff of its own low-precision run, or what `noiseFloor` measured. */
export type NoiseSource =
  | DiffReport
  | readonly (Pick<TapNoise, 'tap' | 'noiseNmse'> & Partial<Pick<TapNoise, 'band'>>)[];

/** Energy NMSE of a floating tap of a run. */
export interface TapError {
  tap: string;
  block: number | null;
  error: number;
  /** What its op errs by itself; null where that is unknown. */
  op: (LocatedOp & { local: number }) | null;
}

/** The floating taps of a run, in execution order. */
export function tapErrors({ report, locate }: ErrorSeries): TapError[] {
  const ops = new Map((locate?.ops ?? []).map((op) => [op.tap, op]));
  const known = (op: LocatedOp | undefined) =>
    op === undefined || op.local === null ? null : { ...op, local: op.local };
  if (report === undefined)
    return [...ops.values()]
      .filter(({ tap }) => !FAMILIES.some((family) => hasRole(family, 'router.expert', tap)))
      .map((op) => ({ tap: op.tap, block: op.block, error: op.cumulative, op: known(op) }));
  return report.tapReports.flatMap((tap) => {
    const error = tapError(tap);
    if (error === null) return [];
    return [{ tap: tap.name, block: tap.block, error, op: known(ops.get(tap.name)) }];
  });
}

/** Noise of a value: up to the error of a single run, or between those of most runs of a floor. */
export interface NoiseLevel {
  /** 0 for a single run. */
  low: number;
  high: number;
}

/** Noise by tap; empty without a source. */
export function noiseErrors(source: NoiseSource | undefined): Map<string, NoiseLevel> {
  if (source === undefined) return new Map();
  if ('tapReports' in source)
    return new Map(
      tapErrors({ label: '', report: source }).map(({ tap, error }) => [tap, { low: 0, high: error }]),
    );
  return new Map(
    source.map(({ tap, noiseNmse, band }) => [
      tap,
      band == null ? { low: 0, high: noiseNmse } : { low: band.low, high: band.high },
    ]),
  );
}

/** What the noise is of, for the legend. */
export function noiseName(source: NoiseSource | undefined): string {
  return source !== undefined && 'tapReports' in source
    ? `noise floor: ${plainText(source.tested.label)}`
    : 'noise floor of the reference';
}

/** Taps of all runs in one order: what only a later run has comes after what it follows there. */
export function commonOrder(runs: readonly (readonly TapError[])[]): TapError[] {
  const order: TapError[] = [];
  const held = new Set<string>();
  for (const run of runs) {
    let after = 0;
    for (const entry of run) {
      if (held.has(entry.tap)) after = order.findIndex(({ tap }) => tap === entry.tap) + 1;
      else {
        order.splice(after++, 0, entry);
        held.add(entry.tap);
      }
    }
  }
  return order;
}

/**
 * The noise as an area: from the bottom up to a single run's, or between the edges of a floor's band. Places
 * without noise, or whose noise is exactly 0, are bridged.
 */
export function noiseBand(
  points: readonly { tap: string; x: number }[],
  { drawn, text, floor }: LogValues,
  low: LogValues,
  name: string,
): Trace[] {
  const shown = points.flatMap((point, at) => (text[at] === 'exactly 0' ? [] : [{ ...point, at }]));
  const common = { type: 'scatter', mode: 'lines', line: { width: 0 }, x: shown.map(({ x }) => x) };
  return [
    { ...common, y: shown.map(({ at }) => low.drawn[at] ?? floor), hoverinfo: 'skip', showlegend: false },
    {
      ...common,
      y: shown.map(({ at }) => drawn[at]!),
      fill: 'tonexty',
      fillcolor: NOISE_COLOR,
      name,
      customdata: shown.map(({ tap }) => tap),
      hovertext: shown.map(
        ({ tap, at }) =>
          `${plainText(tap)}<br>noise floor ${low.text[at] === 'exactly 0' ? '' : `${low.text[at]} to `}${text[at]}`,
      ),
      hoverinfo: 'text',
    },
  ];
}
