import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { legendAbove } from '../legend.js';
import { type LogValues, logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { NEUTRAL_COLOR, SERIES_COLORS } from '../theme.js';

/** Errors of one device or setting. */
export interface BackendErrors {
  /** Name in the legend, e.g. `Vulkan0, strict F32`. */
  label: string;
  /** Energy NMSE by op or tap; a missing one leaves a gap. */
  errors: readonly { name: string; nmse: number; tap?: string }[];
}

/** Options of {@link backendComparison}. */
export interface BackendComparisonOptions {
  title?: string;
  /** What the rows are, e.g. `ops`. Default `values, in execution order`. */
  what?: string;
  /** Largest energy NMSE that is right: a dashed line. */
  tolerance?: number;
}

const SYMBOLS = ['circle', 'diamond-open', 'x-thin-open', 'square-open'];
/** Room for title and axis; for each row; for all rows at most: names are then thinned out. */
const [FRAME_PIXELS, ROW_PIXELS, MOST_PIXELS] = [150, 18, 1200];

/**
 * Energy NMSE of the same ops or values (y, the first at the top) on several devices (colours), on a
 * logarithmic axis.
 *
 * @throws `BAD_ARGUMENT` without a device that has errors.
 */
export function backendComparison(
  backends: readonly BackendErrors[],
  options: BackendComparisonOptions = {},
): Figure {
  const { title = 'The same values on several devices', what = 'values, in execution order' } = options;
  const names = [...new Set(backends.flatMap(({ errors }) => errors.map(({ name }) => name)))];
  requireSome('backendComparison', 'a device with errors', names.length);
  const values = logValues(backends.map(({ errors }) => errors.map(({ nmse }) => nmse)));
  const limits = options.tolerance === undefined ? [] : logValues([[options.tolerance]]);
  const place = new Map(names.map((name, index) => [name, index]));
  const step = Math.ceil((names.length * ROW_PIXELS) / MOST_PIXELS);
  const labelled = names.flatMap((name, at) => (at % step === 0 ? [{ at, name }] : []));
  return {
    name: 'backend-comparison',
    title,
    description: `Energy NMSE of ${names.length} ${what} on ${backends.map(({ label }) => label).join(', ')}.`,
    data: backends.map(({ label, errors }, index) => {
      const color = SERIES_COLORS[index % SERIES_COLORS.length];
      const { drawn, text } = values[index]!;
      return {
        type: 'scatter',
        mode: 'markers',
        name: plainText(label),
        x: drawn,
        y: errors.map(({ name }) => place.get(name)!),
        marker: {
          size: 8,
          color,
          symbol: SYMBOLS[index % SYMBOLS.length],
          line: { width: index % SYMBOLS.length === 0 ? 0 : 2, color },
        },
        customdata: errors.map(({ name, tap }, at) => [tap ?? '', text[at]!, plainText(name)]),
        hovertemplate: `%{customdata[2]}<br>energy NMSE %{customdata[1]}<extra>${plainText(label)}</extra>`,
      };
    }),
    layout: {
      title: titled(title, unseen(values)),
      xaxis: logAxis('energy NMSE', [...values, ...limits]),
      yaxis: {
        title: { text: what, standoff: 12 },
        tickvals: labelled.map(({ at }) => at),
        ticktext: labelled.map(({ name }) => plainText(name)),
        ticksuffix: ' ',
        range: [names.length - 0.5, -0.5],
      },
      ...legendAbove(backends.length),
      height: FRAME_PIXELS + Math.min(MOST_PIXELS, ROW_PIXELS * names.length),
      shapes: limits.flatMap(({ drawn }) => toleranceLine(drawn)),
      annotations: limits.flatMap(({ drawn }) => toleranceName(drawn)),
    },
  };
}

function toleranceLine([x]: LogValues['drawn']) {
  const line = { dash: 'dash', width: 1.5, color: NEUTRAL_COLOR };
  return x === null ? [] : [{ type: 'line', yref: 'paper', y0: 0, y1: 1, x0: x, x1: x, line }];
}

/** What the dashed line is: on a logarithmic axis annotations stand at the exponent. */
function toleranceName([x]: LogValues['drawn']) {
  const place = { yref: 'paper', y: 0, xanchor: 'left', yanchor: 'bottom', showarrow: false, textangle: -90 };
  return x === null
    ? []
    : [{ ...place, x: Math.log10(x!), text: `limit ${formatError(x!)}`, font: { size: 10 } }];
}
