import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { seriesColors } from '../theme.js';
import type { ErrorFigureOptions, TapError } from './error-lines.js';

/** A bar: what it is of, and its error. */
export interface LabelledError extends TapError {
  /** Category on the axis. */
  label: string;
}

/** Symbols of dots, by series. */
const SYMBOLS = ['circle', 'diamond', 'square', 'triangle-up', 'cross'];
/** Longer labels would stand aslant below upright bars. */
const LONG_LABEL = 10;
/** Room of lying bars: for title and axis, and for each. */
const [FRAME_PIXELS, BAR_PIXELS] = [150, 22];

/**
 * Errors of anything that has a name: variants of an op, mistakes, halves of blocks. On a linear axis bars,
 * those of one label beside each other; on a logarithmic one, where a bar has no base, dots. One colour a
 * series, on dots one symbol too; series without a label in common are interleaved. Long labels stand at the
 * left.
 *
 * @throws `BAD_ARGUMENT` without a bar.
 */
export function errorBars(
  series: readonly { label: string; errors: readonly LabelledError[]; color?: number }[],
  options: ErrorFigureOptions,
): Figure {
  const { title, unit = 'energy NMSE', scale = 'log' } = options;
  const labels = interleaved(series.map(({ errors }) => errors.map(({ label }) => label)));
  const isShared = labels.length < series.reduce((sum, { errors }) => sum + errors.length, 0);
  requireSome('errorBars', 'a series with errors', labels.length);
  const isFlat = labels.some(({ length }) => length > LONG_LABEL);
  const values = logValues(series.map(({ errors }) => errors.map(({ error }) => error)));
  const colors = seriesColors(series);
  const isLog = scale === 'log';
  return {
    name: 'error-bars',
    title,
    description: `${unit} of ${labels.join(', ')}: ${series.map(({ label }) => label).join(', ')}, on a ${scale === 'log' ? 'logarithmic' : 'linear'} axis.`,
    data: series.map(({ label, errors }, at) => ({
      ...(isLog ? { type: 'scatter', mode: 'markers' } : { type: 'bar', orientation: isFlat ? 'h' : 'v' }),
      name: plainText(label),
      [isFlat ? 'y' : 'x']: errors.map((each) => plainText(each.label)),
      [isFlat ? 'x' : 'y']: isLog ? values[at]!.drawn : errors.map(({ error }) => error),
      marker: { color: colors[at]!, ...(isLog ? { size: 10, symbol: SYMBOLS[at % SYMBOLS.length]! } : {}) },
      customdata: errors.map(({ tap }, bar) => [tap, values[at]!.text[bar]!]),
      hovertemplate: `%{${isFlat ? 'y' : 'x'}}<br>%{customdata[0]}<br>${plainText(unit)} %{customdata[1]}<extra>${plainText(label)}</extra>`,
    })),
    layout: {
      ...(isLog ? {} : { barmode: isShared ? 'group' : 'overlay' }),
      title: titled(title, scale === 'log' ? unseen(values) : ''),
      [isFlat ? 'yaxis' : 'xaxis']: {
        type: 'category',
        categoryorder: 'array',
        categoryarray: labels.map(plainText),
        ...(isFlat ? { autorange: 'reversed', ticksuffix: ' ' } : {}),
      },
      [isFlat ? 'xaxis' : 'yaxis']:
        scale === 'log' ? logAxis(unit, values) : { title: { text: unit }, exponentformat: 'power' },
      ...(isFlat
        ? { height: FRAME_PIXELS + BAR_PIXELS * labels.length * (isShared && !isLog ? series.length : 1) }
        : {}),
      ...legendAbove(series.length),
    },
  };
}

/** The first label of each, the second of each, ...; each once. */
function interleaved(lists: readonly (readonly string[])[]): string[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return [
    ...new Set(Array.from({ length: longest }, (_, at) => lists.flatMap((list) => list[at] ?? [])).flat()),
  ];
}
