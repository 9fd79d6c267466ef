import type { Figure } from './figure.js';
import { legendAbove } from './legend.js';
import { logAxis, logValues, plainText, titled, unseen } from './log-values.js';
import { requireSome } from './require-some.js';
import { SERIES_COLORS } from './theme.js';

/** Errors of one device or setting. */
export interface BackendErrors {
  /** Name in the legend, e.g. `Vulkan0, strict F32`. */
  label: string;
  /** Energy NMSE by op or tap; a missing one leaves a gap. */
  errors: readonly { name: string; nmse: number; tap?: string }[];
}

/**
 * Energy NMSE of the same ops or values on several devices, side by side on a logarithmic axis, with an optional tolerance line.
 *
 * @throws `BAD_ARGUMENT` without a device that has errors.
 */
export function backendComparison(
  backends: readonly BackendErrors[],
  options: { title?: string; what?: string; tolerance?: number } = {},
): Figure {
  const names = [...new Set(backends.flatMap(({ errors }) => errors.map(({ name }) => name)))];
  requireSome('backendComparison', 'a device with errors', names.length);
  const values = logValues(backends.map(({ errors }) => errors.map(({ nmse }) => nmse)));
  const title = options.title ?? 'The same values on several devices';
  const place = new Map(names.map((name, index) => [name, index]));
  const step = Math.ceil(names.length / 60);
  const ticks = names.flatMap((name, at) => (at % step === 0 ? [{ at, name }] : []));
  return {
    name: 'backend-comparison',
    title,
    description: `Energy NMSE of ${names.length} ${options.what ?? 'values'} on ${backends.map(({ label }) => label).join(', ')}.`,
    data: backends.map(({ label, errors }, index) => ({
      type: 'scatter',
      mode: 'markers',
      name: plainText(label),
      x: errors.map(({ name }) => place.get(name)!),
      y: values[index]!.drawn,
      marker: {
        size: 7,
        color: SERIES_COLORS[index % SERIES_COLORS.length],
        symbol: ['circle', 'diamond-open', 'x-thin-open', 'square-open'][index % 4],
        line: { width: 1.5, color: SERIES_COLORS[index % SERIES_COLORS.length] },
      },
      customdata: errors.map(({ name, tap }, at) => [tap ?? '', values[index]!.text[at]!, plainText(name)]),
      hovertemplate: `%{customdata[2]}<br>energy NMSE %{customdata[1]}<extra>${plainText(label)}</extra>`,
    })),
    layout: {
      title: titled(title, unseen(values)),
      xaxis: {
        title: { text: options.what ?? 'value, in execution order' },
        tickvals: ticks.map(({ at }) => at),
        ticktext: ticks.map(({ name }) => plainText(name)),
        tickangle: -60,
        tickfont: { size: 10 },
      },
      yaxis: logAxis('energy NMSE'),
      ...legendAbove(backends.length),
      height: 560,
      ...(options.tolerance === undefined
        ? {}
        : {
            shapes: [
              {
                type: 'line',
                xref: 'paper',
                x0: 0,
                x1: 1,
                y0: options.tolerance,
                y1: options.tolerance,
                line: { dash: 'dot', width: 1.5, color: '#8a8f98' },
              },
            ],
          }),
    },
  };
}
