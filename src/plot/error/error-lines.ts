import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { seriesColors } from '../theme.js';
import { hiddenLines } from './hidden-lines.js';

/** Symbols of a series' marks. */
const SYMBOLS = ['circle', 'diamond', 'square', 'triangle-up', 'cross'];

/** An error of one tap. */
export interface TapError {
  tap: string;
  /** Energy NMSE, or another error of 0 or more. */
  error: number;
}

/** Options of {@link errorLines} and {@link errorBars}. */
export interface ErrorFigureOptions {
  title: string;
  /** What the errors are; default `energy NMSE`. */
  unit?: string;
  /** `linear` hides everything but the largest errors. Default `log`. */
  scale?: 'log' | 'linear';
}

/**
 * Errors of the blocks' outputs, or of another value that each block has, one line a series, over the blocks
 * (entry `n` of a series is block n's).
 *
 * @throws `BAD_ARGUMENT` without a series that has an error.
 */
export function errorLines(
  series: readonly { label: string; errors: readonly TapError[]; color?: number }[],
  options: ErrorFigureOptions,
): Figure {
  const { title, unit = 'energy NMSE', scale = 'log' } = options;
  requireSome('errorLines', 'a series with errors', series.flatMap(({ errors }) => errors).length);
  const values = logValues(series.map(({ errors }) => errors.map(({ error }) => error)));
  const colors = seriesColors(series);
  const hidden = hiddenLines(
    series.map(({ label, errors }) => ({ label, values: errors.map(({ error }) => error) })),
  );
  return {
    name: 'error-lines',
    title,
    description: `${unit} by block, of ${series.map(({ label }) => label).join(', ')}, on a ${scale === 'log' ? 'logarithmic' : 'linear'} axis.`,
    data: series.map(({ label, errors }, at) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plainText(label),
      x: errors.map((_, block) => block),
      y: scale === 'log' ? values[at]!.drawn : errors.map(({ error }) => error),
      line: { color: colors[at]!, width: 2 },
      marker: { color: colors[at]!, size: 8, symbol: SYMBOLS[at % SYMBOLS.length]! },
      customdata: errors.map(({ tap }, block) => [tap, values[at]!.text[block]!]),
      hovertemplate: `block %{x}<br>%{customdata[0]}<br>${plainText(unit)} %{customdata[1]}<extra>${plainText(label)}</extra>`,
    })),
    layout: {
      title: titled(title, scale === 'log' ? unseen(values) : '', hidden),
      xaxis: { title: { text: 'block' }, dtick: series[0]!.errors.length > 24 ? 5 : 1 },
      yaxis: scale === 'log' ? logAxis(unit, values) : { title: { text: unit }, exponentformat: 'power' },
      ...legendAbove(series.length),
    },
  };
}
