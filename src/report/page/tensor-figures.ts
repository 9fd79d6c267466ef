import type { Trace } from '../../plot/figure.js';
import { plainText } from '../../plot/log-values.js';
import { SERIES_COLORS } from '../../plot/theme.js';
import type { PackedView } from '../build/pack-views.js';
import type { PageFigure } from './data.js';
import type { UnpackedView } from './tensor.js';
import { tensorMaps } from './tensor-maps.js';

/**
 * Figures of one tap: its heat maps, a histogram of its values, and one of its errors where there are any.
 * @param wide three maps side by side instead of on top of each other.
 */
export function tensorFigures(unpacked: UnpackedView, wide: boolean): PageFigure[] {
  const { view } = unpacked;
  const figures = [tensorMaps(unpacked, wide), valuesFigure(view)];
  if (view.histograms.differences.length > 0) figures.push(errorsFigure(view));
  return figures;
}

function valuesFigure({ tap, histograms }: PackedView): PageFigure {
  const { reference, tested } = histograms;
  const binWidth = (histograms.most - histograms.least) / reference.length || 1;
  const centres = reference.map((_, bin) => histograms.least + (bin + 0.5) * binWidth);
  const side = (label: string, counts: number[], color: string, dash: string): Trace => ({
    type: 'scatter',
    mode: 'lines',
    name: label,
    x: centres,
    // A logarithmic axis has no zero: empty bins stand below one element, where the axis begins.
    y: counts.map((count) => count || 0.5),
    customdata: counts,
    line: { shape: 'hvh', color, dash },
    hovertemplate: `${label} %{x:.3g}: %{customdata} elements<extra></extra>`,
  });
  return {
    name: 'values',
    title: `Values (${share(histograms)})`,
    description: `Histogram of the values of ${plainText(tap)} on both sides.`,
    data: [
      side('reference', reference, SERIES_COLORS[0]!, 'solid'),
      side('tested', tested, SERIES_COLORS[1]!, 'dot'),
    ],
    layout: {
      height: 300,
      xaxis: { title: { text: 'value' } },
      yaxis: {
        title: { text: 'elements' },
        type: 'log',
        range: [Math.log10(0.5), Math.log10(2 * Math.max(1, ...reference, ...tested))],
      },
      legend: { orientation: 'h', y: 1.12, x: 1, xanchor: 'right' },
    },
    opens: 'tap',
  };
}

function errorsFigure({ tap, histograms }: PackedView): PageFigure {
  const { octave, differences, same, notFinite } = histograms;
  const octaves = differences.map((_, k) => 2 ** (octave + k));
  const lost = notFinite > 0 ? `, ${notFinite} not finite on one side` : '';
  return {
    name: 'errors',
    title: `Errors (${share(histograms)})<br><sub>${same} the same${lost}</sub>`,
    description: `Histogram of the errors of ${plainText(tap)}, by octave.`,
    data: [
      {
        type: 'bar',
        x: octaves.map((size) => size * Math.SQRT2),
        y: differences,
        width: octaves,
        marker: { color: SERIES_COLORS[0]! },
        hovertemplate: '%{customdata}: %{y} elements<extra></extra>',
        customdata: octaves.map((size) => `${size.toExponential(1)} to ${(2 * size).toExponential(1)}`),
      },
    ],
    layout: {
      height: 300,
      xaxis: { title: { text: '|tested − reference|' }, type: 'log', exponentformat: 'e' },
      yaxis: { title: { text: 'elements' } },
    },
    opens: 'tap',
  };
}

/** How much of a tensor a histogram counts. */
function share({ stride }: PackedView['histograms']): string {
  return stride === 1 ? 'all elements' : `one element in ${stride}`;
}
