import type { Layout } from '../../plot/figure.js';
import { plainText } from '../../plot/log-values.js';
import { type HeatPanel, heatPanels } from '../../plot/tensor/heat-panels.js';
import { DIVERGING_SCALE, SEQUENTIAL_SCALE } from '../../plot/theme.js';
import type { PackedView } from '../build/pack-views.js';
import type { PageFigure } from './data.js';
import type { UnpackedView } from './tensor.js';
import { viewLabels } from './tensor-labels.js';

/** Where one of three panels lies along the direction in which they follow each other. */
type Along = (panel: number) => [from: number, to: number];

/**
 * Heat maps of reference, tested side and difference with one zoom for all three; the first two have one
 * colour range, the difference is drawn by its logarithm.
 * @param wide three maps side by side instead of on top of each other.
 */
export function tensorMaps(unpacked: UnpackedView, wide: boolean): PageFigure {
  const { view, reference, tested, difference, marks } = unpacked;
  const { gridRows, gridColumns, shape } = view;
  const labels = viewLabels(unpacked);
  const gap = wide ? 0.04 : 0.07;
  const span = (1 - 2 * gap) / 3;
  const along: Along = (panel) => [panel * (span + gap), panel * (span + gap) + span];
  const grid = <T>(value: (cell: number) => T): T[][] =>
    Array.from({ length: gridRows }, (_, row) =>
      Array.from({ length: gridColumns }, (_, column) => value(row * gridColumns + column)),
    );
  const text = grid((cell) => labels.cell(Math.floor(cell / gridColumns), cell % gridColumns));
  const bad = marks.flatMap((mark, cell) => (mark === '' ? [] : [cell]));
  const crosses = {
    x: bad.map((cell) => cell % gridColumns),
    y: bad.map((cell) => Math.floor(cell / gridColumns)),
    text: bad.map((cell) => text[Math.floor(cell / gridColumns)]![cell % gridColumns]),
    hoverinfo: 'text',
  };
  const rowTicks = everyTick(gridRows, 10);
  const columnTicks = everyTick(gridColumns, wide ? 6 : 10);
  const panel = (k: number, caption: string, z: HeatPanel['z'], coloraxis: string): HeatPanel => ({
    caption,
    z,
    map: { text, hoverinfo: 'text', coloraxis, hoverongaps: true, opacity: 1 },
    marks: crosses,
    xaxis: {
      domain: wide ? along(k) : [0, 1],
      title: { text: k === (wide ? 1 : 2) ? columnTitle(view) : '' },
      tickvals: columnTicks,
      ticktext: columnTicks.map((column) => String(labels.columnStart(column))),
      showgrid: false,
      zeroline: false,
    },
    yaxis: {
      domain: wide ? [0, 1] : [1 - along(k)[1], 1 - along(k)[0]],
      autorange: 'reversed',
      title: { text: k === 0 || !wide ? rowTitle(view) : '' },
      tickvals: rowTicks,
      ticktext: rowTicks.map(labels.token),
      showticklabels: k === 0 || !wide,
      showgrid: false,
      zeroline: false,
    },
  });
  const { data, layout } = heatPanels([
    panel(
      0,
      'reference',
      grid((cell) => finite(reference[cell]!)),
      'coloraxis',
    ),
    panel(
      1,
      'tested',
      grid((cell) => finite(tested[cell]!)),
      'coloraxis',
    ),
    panel(
      2,
      '|tested − reference|',
      grid((cell) => logSize(difference[cell]!)),
      'coloraxis2',
    ),
  ]);
  const width = shape.reduce((product, size) => product * size, 1);
  const pooled = gridRows < view.rows || gridColumns < width ? ', pooled' : '';
  return {
    name: 'tensor',
    title: '',
    description: `Heat maps of ${plainText(view.tap)}: reference, tested side and difference, tokens downwards${pooled}.`,
    data,
    layout: {
      ...layout,
      height: wide ? 430 : 980,
      margin: { l: 60, r: 20, t: 40, b: wide ? 110 : 120 },
      showlegend: false,
      ...colorAxes(view, wide, along),
    },
    opens: 'tap',
  };
}

/** Colours of values, and of the logarithms of differences, each with its bar below the maps. */
function colorAxes({ values, differences }: PackedView, wide: boolean, along: Along): Layout {
  const { least: low, most: high } = values;
  const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  const [logLow, logHigh] =
    differences.most > 0 ? [Math.log10(differences.least), Math.log10(differences.most)] : [-1, 0];
  const ticks = errorTicks(logLow, logHigh);
  const bar = { orientation: 'h', thickness: 10, y: wide ? -0.24 : -0.1, yanchor: 'top' };
  return {
    coloraxis: {
      colorscale: low < 0 ? DIVERGING_SCALE : SEQUENTIAL_SCALE,
      cmin: low < 0 ? -most : low,
      cmax: low < 0 ? most : high > low ? high : low + 1,
      colorbar: {
        ...bar,
        x: wide ? (along(0)[0] + along(1)[1]) / 2 : 0.24,
        len: wide ? 0.4 : 0.48,
        title: { text: 'value', side: 'top' },
      },
    },
    coloraxis2: {
      colorscale: SEQUENTIAL_SCALE,
      showscale: differences.most > 0,
      cmin: logLow,
      cmax: logHigh > logLow ? logHigh : logLow + 1,
      colorbar: {
        ...bar,
        x: wide ? (along(2)[0] + along(2)[1]) / 2 : 0.76,
        len: wide ? 0.3 : 0.48,
        title: { text: '|tested − reference|', side: 'top' },
        tickvals: ticks,
        ticktext: ticks.map((exponent) => (10 ** exponent).toExponential(Number.isInteger(exponent) ? 0 : 1)),
      },
    },
  };
}

/** Powers of ten that get a tick, at most about five; both ends where the range holds less than two. */
function errorTicks(low: number, high: number): number[] {
  const count = Math.max(0, Math.floor(high) - Math.ceil(low) + 1);
  const decades = Array.from({ length: count }, (_, k) => Math.ceil(low) + k);
  const each = Math.ceil(decades.length / 5);
  return decades.length > 1 ? decades.filter((_, k) => k % each === 0) : [low, high];
}

/** Indices of `count` entries that get a tick, at most about `most`. */
function everyTick(count: number, most: number): number[] {
  const step = Math.max(1, Math.ceil(count / most));
  return Array.from({ length: Math.ceil(count / step) }, (_, k) => k * step);
}

function columnTitle({ shape, axes }: PackedView): string {
  if (shape.length === 0) return 'one value a row';
  if (shape.length === 1) return `element (${axes.map(plainText).join('')})`;
  return `element of [${axes.map(plainText).join(', ')}] = [${shape.join(', ')}], flattened`;
}

function rowTitle({ scope }: PackedView): string {
  return scope === 'step' ? 'forward step, by its last position' : 'token position';
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Logarithm of a difference's magnitude; null where there is none. */
function logSize(value: number): number | null {
  return Number.isNaN(value) || value === 0 ? null : Math.log10(Math.abs(value));
}
