import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { SERIES_COLORS } from '../theme.js';
import type { ErrorFigureOptions, TapError } from './error-lines.js';

/** A bar: what it is of, and its error. */
export interface LabelledError extends TapError {
  /** Category on the axis. */
  label: string;
}

/** Longer labels would stand aslant below upright bars. */
const LONG_LABEL = 10;
/** Room of lying bars: for title and axis, and for each. */
const [FRAME_PIXELS, BAR_PIXELS] = [150, 22];

/**
 * Errors of anything that has a name: variants of an op, mistakes, halves of blocks. Bars of one label stand
 * beside each other, one colour a series; series without a label in common are interleaved. Bars with long
 * labels lie.
 *
 * @throws `BAD_ARGUMENT` without a bar.
 */
export function errorBars(
  series: readonly { label: string; errors: readonly LabelledError[] }[],
  options: ErrorFigureOptions,
): Figure {
  const { title, unit = 'energy NMSE', scale = 'log' } = options;
  const labels = interleaved(series.map(({ errors }) => errors.map(({ label }) => label)));
  const isShared = labels.length < series.reduce((sum, { errors }) => sum + errors.length, 0);
  requireSome('errorBars', 'a series with errors', labels.length);
  const isFlat = labels.some(({ length }) => length > LONG_LABEL);
  const values = logValues(series.map(({ errors }) => errors.map(({ error }) => error)));
  const floor = values[0]!.floor;
  return {
    name: 'error-bars',
    title,
    description: `${unit} of ${labels.join(', ')}: ${series.map(({ label }) => label).join(', ')}, on a ${scale === 'log' ? 'logarithmic' : 'linear'} axis.`,
    data: series.map(({ label, errors }, at) => ({
      type: 'bar',
      name: plainText(label),
      orientation: isFlat ? 'h' : 'v',
      [isFlat ? 'y' : 'x']: errors.map((each) => plainText(each.label)),
      [isFlat ? 'x' : 'y']: scale === 'log' ? values[at]!.drawn : errors.map(({ error }) => error),
      marker: { color: SERIES_COLORS[at % SERIES_COLORS.length]! },
      customdata: errors.map(({ tap }, bar) => [tap, values[at]!.text[bar]!]),
      hovertemplate: `%{${isFlat ? 'y' : 'x'}}<br>%{customdata[0]}<br>${plainText(unit)} %{customdata[1]}<extra>${plainText(label)}</extra>`,
    })),
    layout: {
      barmode: isShared ? 'group' : 'overlay',
      title: titled(title, scale === 'log' ? unseen(values) : ''),
      [isFlat ? 'yaxis' : 'xaxis']: {
        type: 'category',
        categoryorder: 'array',
        categoryarray: labels.map(plainText),
        ...(isFlat ? { autorange: 'reversed' } : {}),
      },
      [isFlat ? 'xaxis' : 'yaxis']:
        scale === 'log'
          ? {
              ...logAxis(unit, values),
              range: [Math.log10(floor), logTop(values.flatMap(({ drawn }) => drawn))],
            }
          : { title: { text: unit }, exponentformat: 'power' },
      ...(isFlat
        ? { height: FRAME_PIXELS + BAR_PIXELS * labels.length * (isShared ? series.length : 1) }
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

/**
 * Upper end of the axis in decades: bars of a logarithmic axis need a lower end of their own, and then both.
 */
function logTop(drawn: readonly (number | null)[]): number {
  const largest = drawn.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  return largest > 0 ? Math.log10(largest) + 0.3 : 0;
}
