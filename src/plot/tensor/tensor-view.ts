import { ZayascopeError } from '../../errors.js';
import { type Figure, plainNumbers } from '../figure.js';
import { plainText, titled } from '../log-values.js';
import { DIVERGING_SCALE, SEQUENTIAL_SCALE } from '../theme.js';
import { type HeatPanel, heatPanels } from './heat-panels.js';
import {
  type SlicedTensor,
  type SliceOptions,
  sliceTensor,
  toNumbers,
  type ViewedTensor,
} from './tensor-slice.js';

/** Options of {@link tensorView} and {@link compareTensors}. */
export interface TensorViewOptions extends SliceOptions {
  title?: string;
  /**
   * Names of the tensor's axes, slowest first, e.g. `['token', 'head', 'channel']`. Default: those of its
   * tap, else `axis 0`, ...
   */
  axisNames?: readonly string[];
  /** What the values are: the name of the colour bar. Default `value`. */
  unit?: string;
  /** True for an element that has no value, by its index on every axis: its cell is blank. */
  isMasked?: (index: readonly number[]) => boolean;
  /** Texts of entries for the hover, by axis, e.g. the tokens' on axis 0; null for an axis without. */
  texts?: readonly (readonly string[] | null)[];
}

/** One heat map of a row of heat maps. */
interface Panel {
  caption: string;
  sliced: SlicedTensor;
  grid: number;
  /** Colour range; signed ones are symmetric. */
  range: readonly [number, number];
  isSigned: boolean;
  /** What the colours stand for; undefined where another panel's colour bar says it. */
  colorbar: string | undefined;
}

/** Pixels: a row of panels, and the space between two rows. */
const [PANEL, ROW_GAP] = [190, 60];
/** Above is room for a title of two lines and a caption. */
const MARGIN = { l: 72, r: 24, t: 96, b: 56 };
/** Axes of up to so many entries have a tick at each. */
const FEW = 10;

/**
 * A tensor of any rank as heat maps: the last axis to the right, the one before it downwards, the one before
 * that as facets, one index of all others (`options` choose otherwise). Numbers stand in the hover with their
 * index on every axis. Larger slices are pooled by largest magnitude, so that an outlier stays visible, and
 * the title says so; NaN and infinities are marked.
 *
 * @throws `BAD_ARGUMENT` for an axis or index that the tensor does not have; `SHAPE_MISMATCH` where shape and
 * data differ in size.
 */
export function tensorView(tensor: ViewedTensor, given: TensorViewOptions = {}): Figure {
  const options = withAxisNames(tensor, given);
  const sliced = sliceTensor(tensor, options);
  const range = spread([sliced]);
  const panels = sliced.grids.map(
    ({ facet }, grid): Panel => ({
      caption: sliced.axes.facets < 0 ? '' : `${axisName(sliced.axes.facets, options)} ${facet}`,
      sliced,
      grid,
      range,
      isSigned: range[0] < 0,
      colorbar: grid === 0 ? (options.unit ?? 'value') : undefined,
    }),
  );
  const title = options.title ?? sliced.name;
  return figureOf(
    'tensor-view',
    title,
    panels,
    options,
    `Values of ${sliced.name}, shape [${tensor.shape.join(', ')}].`,
  );
}

/**
 * Two tensors and their difference (tested minus reference) side by side: the first two on one colour range,
 * the difference on its own.
 *
 * @throws as {@link tensorView}; `SHAPE_MISMATCH` for two shapes.
 */
export function compareTensors(
  reference: ViewedTensor,
  tested: ViewedTensor,
  given: TensorViewOptions = {},
): Figure {
  const options = withAxisNames(reference, given);
  if (reference.shape.join() !== tested.shape.join())
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `compareTensors: expected two tensors of one shape, got [${reference.shape.join(', ')}] and [${tested.shape.join(', ')}]`,
      { op: 'compareTensors', shapes: [reference.shape, tested.shape] },
    );
  const [a, b] = [toNumbers(reference), toNumbers(tested)];
  const difference = Array.from(a, (value, at) => b[at]! - value);
  const slice = { ...options, facets: options.facets ?? null };
  const [left, middle] = [sliceTensor(reference, slice), sliceTensor(tested, slice)];
  const right = sliceTensor(
    { shape: reference.shape, data: difference, ...(reference.tap ? { tap: reference.tap } : {}) },
    slice,
  );
  const [shared, own] = [spread([left, middle]), spread([right])];
  const largest = Math.max(Math.abs(own[0]), Math.abs(own[1]));
  const panels = left.grids.flatMap(({ facet }, grid): Panel[] => {
    const where = left.axes.facets < 0 ? '' : `, ${axisName(left.axes.facets, options)} ${facet}`;
    const common = { grid, isSigned: shared[0] < 0, range: shared };
    return [
      { ...common, caption: `reference${where}`, sliced: left, colorbar: undefined },
      { ...common, caption: `tested${where}`, sliced: middle, colorbar: grid === 0 ? 'value' : undefined },
      {
        caption: `tested − reference${where}${isZero(right.grids[grid]!.cells) ? ' (0 everywhere)' : ''}`,
        sliced: right,
        grid,
        range: [-largest, largest],
        isSigned: true,
        colorbar: grid === 0 ? 'difference' : undefined,
      },
    ];
  });
  const title = options.title ?? left.name;
  return figureOf(
    'tensor-comparison',
    title,
    panels,
    options,
    `Reference, tested and difference of ${left.name}, shape [${reference.shape.join(', ')}].`,
    3,
  );
}

function figureOf(
  name: string,
  title: string,
  panels: readonly Panel[],
  options: TensorViewOptions,
  description: string,
  perLine = Math.min(4, panels.length),
): Figure {
  const { isMasked } = options;
  const lines = Math.ceil(panels.length / perLine);
  const gap = 0.05;
  const plotHeight = lines * (PANEL + ROW_GAP) - ROW_GAP;
  const drawn = heatPanels(
    panels.map((panel, index): HeatPanel => {
      const [line, column] = [Math.floor(index / perLine), index % perLine];
      const width = (0.9 + gap) / perLine;
      const top = 1 - (line * (PANEL + ROW_GAP)) / plotHeight;
      const { pooled } = panel.sliced;
      const { rows, columns } = panel.sliced.axes;
      const { cells } = panel.sliced.grids[panel.grid]!;
      return {
        caption: plainText(panel.caption),
        z: isMasked === undefined ? cells.map(plainNumbers) : unmasked(panel, isMasked),
        map: heatMap(panel, index, options.texts),
        marks: nonFiniteMarks(panel),
        xaxis: {
          domain: [column * width, (column + 1) * width - gap],
          title: { text: axisName(columns, options), standoff: 4 },
          ...ticks(columns, cells[0]!.length * pooled[1]),
        },
        yaxis: {
          domain: [Math.max(0, top - PANEL / plotHeight), top],
          ...(column === 0 ? { title: { text: axisName(rows, options), standoff: 4 } } : {}),
          ...ticks(rows, cells.length * pooled[0]),
          range: [cells.length * pooled[0] - 0.5, -0.5],
        },
      };
    }),
  );
  const [first] = panels;
  const { pooled, facetCount, grids, nonFinite, axes } = first!.sliced;
  const lost = Math.max(...panels.map(({ sliced }) => sliced.nonFinite), nonFinite);
  return {
    name,
    title,
    description,
    data: drawn.data,
    layout: {
      ...drawn.layout,
      title: titled(
        title,
        pooled[0] * pooled[1] > 1
          ? `a cell is the largest magnitude of ${pooled[0]} x ${pooled[1]} elements`
          : '',
        facetCount > grids.length
          ? `first ${grids.length} of ${facetCount} on ${axisName(axes.facets, options)}`
          : '',
        lost > 0 ? `${lost} NaN or infinite, marked` : '',
        isMasked === undefined ? '' : 'masked entries are blank',
      ),
      margin: MARGIN,
      height: plotHeight + MARGIN.t + MARGIN.b,
    },
  };
}

/** Where the cells of a panel lie, their colours, and what the hover says of them. */
function heatMap(
  { sliced, grid, range, isSigned, colorbar }: Panel,
  index: number,
  texts: TensorViewOptions['texts'],
): HeatPanel['map'] {
  const { cells, indices } = sliced.grids[grid]!;
  const [rowStep, columnStep] = sliced.pooled;
  return {
    x0: middle(0, columnStep),
    dx: columnStep,
    y0: middle(0, rowStep),
    dy: rowStep,
    zmin: range[0],
    zmax: range[1],
    colorscale: isSigned ? DIVERGING_SCALE : SEQUENTIAL_SCALE,
    showscale: colorbar !== undefined,
    ...(colorbar !== undefined
      ? {
          colorbar: {
            title: { text: colorbar, side: 'top', font: { size: 10 } },
            x: 0.94 + (index > 1 ? 0.06 : 0),
            thickness: 10,
            len: 0.95,
            exponentformat: 'power',
          },
        }
      : {}),
    // Of a panel without any finite value only the marks are seen.
    ...(cells.flat().some(Number.isFinite)
      ? {
          customdata: indices.map((row) => row.map((place) => [sliced.name, placeName(place, texts)])),
          hovertemplate: '%{customdata[0]}<br>[%{customdata[1]}] = %{z:.9~g}<extra></extra>',
        }
      : { hoverinfo: 'skip' }),
    hoverongaps: false,
  };
}

/** Cells without those that are masked. */
function unmasked(
  { sliced, grid }: Panel,
  isMasked: (index: readonly number[]) => boolean,
): (number | null)[][] {
  const { cells, indices } = sliced.grids[grid]!;
  return cells.map((row, y) =>
    plainNumbers(row).map((value, x) => (isMasked(indices[y]![x]!) ? null : value)),
  );
}

/** An index, with the texts of its entries. */
function placeName(place: readonly number[], texts: TensorViewOptions['texts']): string {
  return place
    .map((entry, axis) => {
      const text = texts?.[axis]?.[entry];
      return text === undefined ? String(entry) : `${entry} (${plainText(text)})`;
    })
    .join(', ');
}

function nonFiniteMarks({ sliced, grid }: Panel): HeatPanel['marks'] {
  const { cells, indices } = sliced.grids[grid]!;
  const [rowStep, columnStep] = sliced.pooled;
  const found = cells.flatMap((row, y) =>
    row.flatMap((value, x) => (Number.isFinite(value) ? [] : [{ x, y, value, place: indices[y]![x]! }])),
  );
  return {
    x: found.map(({ x }) => middle(x, columnStep)),
    y: found.map(({ y }) => middle(y, rowStep)),
    customdata: found.map(({ value, place }) => [sliced.name, place.join(', '), String(value)]),
    hovertemplate: '%{customdata[0]}<br>[%{customdata[1]}] = %{customdata[2]}<extra></extra>',
  };
}

/** Ticks stand at indices; an axis that the tensor does not have has none. */
function ticks(axis: number, entries: number): Record<string, unknown> {
  if (axis < 0) return { showticklabels: false, ticks: '', showgrid: false };
  return entries <= FEW ? { tick0: 0, dtick: 1 } : {};
}

/** Middle of a cell on an axis that counts elements. */
function middle(cell: number, pooled: number): number {
  return cell * pooled + (pooled - 1) / 2;
}

function isZero(cells: readonly (readonly number[])[]): boolean {
  return cells.every((row) => row.every((value) => value === 0));
}

/** Least and largest finite value; symmetric about zero where both signs occur. */
function spread(tensors: readonly SlicedTensor[]): readonly [number, number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of tensors.flatMap(({ grids }) => grids.flatMap(({ cells }) => cells.flat())))
    if (Number.isFinite(value)) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  if (least > most) return [0, 1];
  if (least >= 0) return [0, most || 1];
  const size = Math.max(-least, most);
  return [-size, size];
}

/** What the axes of taps are called in figures; other axes keep the names that the dump has. */
const AXIS_WORDS: Readonly<Record<string, string>> = {
  T: 'token',
  S: 'cached position',
  nq: 'query head',
  nk: 'KV head',
  d: 'channel',
  H: 'hidden channel',
  V: 'vocabulary entry',
};

/**
 * Axis names of the tensor's tap, unless the caller has named them. A tap of scope `step` does not name its
 * first axis, that of the steps.
 */
function withAxisNames({ tap, shape }: ViewedTensor, options: TensorViewOptions): TensorViewOptions {
  if (options.axisNames !== undefined || tap?.axes === undefined) return options;
  const names = tap.axes.map((axis) => AXIS_WORDS[axis] ?? axis);
  if (names.length + 1 === shape.length) names.unshift('step');
  return names.length === shape.length ? { ...options, axisNames: names } : options;
}

function axisName(axis: number, { axisNames }: TensorViewOptions): string {
  return axis < 0 ? '' : (axisNames?.[axis] ?? `axis ${axis}`);
}
