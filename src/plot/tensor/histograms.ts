import { coarserDtype, UlpSums } from '../../diff/ulp.js';
import { pair } from '../error/error-scatter.js';
import type { Figure, Trace } from '../figure.js';
import { legendAbove } from '../legend.js';
import { logAxis, logValues, plainText, titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { SERIES_COLORS } from '../theme.js';
import { requireCounts, toNumbers, type ViewedTensor } from './tensor-slice.js';

/** Options of the histograms. */
export interface HistogramOptions {
  title?: string;
  /** Bins over the range of all values; 1 or more. Default 80. */
  bins?: number;
}

/**
 * Values of one or several tensors, as counts per bin on common bins, the first as bars and the others as
 * lines; counts are logarithmic, so that tails show. NaN and infinities are counted in the title.
 *
 * @throws `BAD_ARGUMENT` without a finite value, or for less than one bin.
 */
export function valueHistogram(
  tensors: readonly { label: string; tensor: ViewedTensor }[],
  options: HistogramOptions = {},
): Figure {
  const series = tensors.map(({ label, tensor }) => ({
    label,
    values: toNumbers(tensor),
    name: tensor.tap?.name,
  }));
  return binned('value-histogram', options.title ?? 'Values', 'value', series, options);
}

/**
 * Errors (tested minus reference) of a tensor, signed: rounding is symmetric about zero, a bias is not.
 *
 * @throws `SHAPE_MISMATCH` for two shapes; `BAD_ARGUMENT` without a finite pair, or for less than one bin.
 */
export function errorHistogram(
  reference: ViewedTensor,
  tested: ViewedTensor,
  options: HistogramOptions = {},
): Figure {
  const [a, b] = pair('errorHistogram', reference, tested);
  const values = Array.from(a, (value, at) => b[at]! - value);
  const name = reference.tap?.name;
  return binned(
    'error-histogram',
    options.title ?? `Errors${name === undefined ? '' : `: ${name}`}`,
    'tested − reference',
    [{ label: 'error', values, name }],
    options,
  );
}

/**
 * Distances of a tensor's elements in units in the last place of the coarser dtype, as `diff` counts them: 0,
 * 1, 2, then doubling bins. Tensors of more than 2^16 elements are sampled as there, which the title says, as
 * it counts pairs with a NaN or an infinity.
 *
 * @throws `SHAPE_MISMATCH` for two shapes; `BAD_ARGUMENT` without a finite pair.
 */
export function ulpHistogram(
  reference: ViewedTensor,
  tested: ViewedTensor,
  options: { title?: string } = {},
): Figure {
  const [a, b] = pair('ulpHistogram', reference, tested);
  const sums = new UlpSums(coarserDtype(reference.dtype ?? 'F32', tested.dtype ?? 'F32'));
  sums.add(Float32Array.from(a), Float32Array.from(b));
  const { dtype, elements, histogram } = sums.distances();
  requireSome('ulpHistogram', 'a pair of finite elements', elements);
  let finite = 0;
  for (let at = 0; at < a.length; at++) if (Number.isFinite(a[at]) && Number.isFinite(b[at])) finite++;
  const labels = histogram.map((_, k) => (k < 3 ? String(k) : `${2 ** (k - 2) + 1}–${2 ** (k - 1)}`));
  const name = reference.tap?.name ?? 'tensor';
  const title = options.title ?? `Distance in ${dtype} units: ${name}`;
  return {
    name: 'ulp-histogram',
    title,
    description: `Distances of ${elements} elements of ${name} in units in the last place of ${dtype}.`,
    data: [
      {
        type: 'bar',
        x: labels,
        y: histogram.map((count) => (100 * count) / elements),
        marker: { color: SERIES_COLORS[0] },
        customdata: histogram.map((count) => [name, count]),
        hovertemplate: '%{x} units: %{customdata[1]} elements, %{y:.3g} %<extra></extra>',
      },
    ],
    layout: {
      title: titled(
        title,
        elements < finite ? `${elements} of ${finite} elements counted` : `${elements} elements`,
        finite < a.length ? `${a.length - finite} NaN or infinite left out` : '',
      ),
      xaxis: { title: { text: `units in the last place (${dtype})` }, type: 'category' },
      yaxis: { title: { text: 'share of the elements, %' } },
      showlegend: false,
    },
  };
}

interface Series {
  label: string;
  values: ArrayLike<number>;
  name: string | undefined;
}

function binned(
  kind: string,
  title: string,
  axis: string,
  series: readonly Series[],
  { bins = 80 }: HistogramOptions,
): Figure {
  requireCounts(kind, title, { bins });
  let [least, most, finite, lost] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (const { values } of series)
    for (let at = 0; at < values.length; at++) {
      const value = values[at]!;
      if (!Number.isFinite(value)) {
        lost++;
        continue;
      }
      finite++;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  requireSome(kind, 'a finite value', finite);
  const width = (most - least || Math.abs(most) || 1) / bins;
  const data = series.map(({ label, values, name }, index): Trace => {
    const counts = new Array<number>(bins).fill(0);
    for (let at = 0; at < values.length; at++)
      if (Number.isFinite(values[at]))
        counts[Math.min(bins - 1, Math.floor((values[at]! - least) / width))]!++;
    const color = SERIES_COLORS[index % SERIES_COLORS.length];
    return {
      ...(index === 0
        ? { type: 'bar', width, offset: -width / 2, opacity: series.length > 1 ? 0.6 : 1, marker: { color } }
        : {
            type: 'scatter',
            mode: 'lines+markers',
            line: { shape: 'hvh', width: 1.5, color },
            marker: { size: 4, color },
          }),
      name: plainText(label),
      x: counts.map((_, bin) => least + (bin + 0.5) * width),
      y: counts.map((count) => (count === 0 ? null : count)),
      customdata: counts.map(() => [name ?? '']),
      hovertemplate: `about %{x:.4g}: %{y} elements<extra>${plainText(label)}</extra>`,
    };
  });
  return {
    name: kind,
    title,
    description: `${finite} values between ${least.toPrecision(3)} and ${most.toPrecision(3)} in ${bins} bins.`,
    data,
    layout: {
      title: titled(title, lost > 0 ? `${lost} NaN or infinite left out` : ''),
      xaxis: { title: { text: axis }, exponentformat: 'power' },
      yaxis: logAxis(
        'elements',
        logValues([data.flatMap(({ y }) => y as (number | null)[]).filter((y) => y !== null)]),
      ),
      ...legendAbove(series.length),
    },
  };
}
