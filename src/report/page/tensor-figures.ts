import type { Trace } from '../../plot/figure.js';
import type { PageColors } from './colors.js';
import type { PageFigure } from './data.js';
import type { UnpackedView } from './tensor.js';

/**
 * Heat maps of reference, tested side and difference with one zoom for all three, and histograms of values and errors. Runs in the browser: its source is put into the page, so it
 * uses nothing from outside itself.
 * @param wide three maps side by side instead of on top of each other.
 */
export function tensorFigures(
  unpacked: UnpackedView,
  colors: PageColors,
  wide: boolean,
  plain: (text: string) => string,
): PageFigure[] {
  const { view, rows, reference, tested, difference, marks } = unpacked;
  const { gridRows, gridColumns, shape, axes, histograms } = view;
  const width = shape.reduce((product, size) => product * size, 1);
  const several = new Set(rows.sequence).size > 1;
  const name = plain(view.tap);

  /** The entry of a row's shape at a flat element. */
  const place = (element: number): string => {
    const index: number[] = [];
    let rest = element;
    for (const size of [...shape].reverse()) {
      index.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    return `[${index.join(', ')}]`;
  };
  const starts = (count: number, total: number): number[] =>
    Array.from({ length: count + 1 }, (_, k) => Math.ceil((k * total) / count));
  const [rowStarts, columnStarts] = [starts(gridRows, view.rows), starts(gridColumns, width)];
  const token = (row: number): string =>
    `${several ? `${rows.sequence[row]}:` : ''}${rows.position[row] ?? ''}`;
  const rowText = (row: number): string => {
    const held = rowStarts[row + 1]! - rowStarts[row]!;
    const id = rows.token[row];
    return held === 1
      ? `position ${token(row)}${id === undefined ? '' : `, token ${id}`}`
      : `${held} rows from position ${token(row)}`;
  };
  const columnText = (column: number): string => {
    const [from, end] = [columnStarts[column]!, columnStarts[column + 1]!];
    if (shape.length === 0) return '';
    return end - from === 1 ? `element ${place(from)}` : `elements ${place(from)} to ${place(end - 1)}`;
  };
  const number = (value: number): string =>
    Number.isNaN(value) ? '–' : String(Number(value.toPrecision(3)));
  const grid = <T>(value: (cell: number) => T): T[][] =>
    Array.from({ length: gridRows }, (_, row) =>
      Array.from({ length: gridColumns }, (_, column) => value(row * gridColumns + column)),
    );
  const text = grid((cell) => {
    const [row, column] = [Math.floor(cell / gridColumns), cell % gridColumns];
    const lines = [rowText(row), columnText(column)].filter(Boolean);
    if (marks[cell] !== '') lines.push(`not finite: ${marks[cell]}`);
    lines.push(`reference ${number(reference[cell]!)}`, `tested ${number(tested[cell]!)}`);
    const change = difference[cell]!;
    lines.push(change === 0 ? 'difference exactly 0' : `difference ${number(change)}`);
    return lines.join('<br>');
  });
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
  const [low, high] = [view.values.least, view.values.most];
  const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  const { least: leastError, most: mostError } = view.differences;
  const [logLow, logHigh] = mostError > 0 ? [Math.log10(leastError), Math.log10(mostError)] : [-1, 0];
  const log = (value: number): number | null =>
    Number.isNaN(value) || value === 0 ? null : Math.log10(Math.abs(value));
  const decades = Array.from(
    { length: Math.max(0, Math.floor(logHigh) - Math.ceil(logLow) + 1) },
    (_, k) => Math.ceil(logLow) + k,
  );
  const each = Math.ceil(decades.length / 5);
  const errorTicks = decades.length > 1 ? decades.filter((_, k) => k % each === 0) : [logLow, logHigh];

  const panels = [
    { title: 'reference', z: grid((cell) => finite(reference[cell]!)), axis: 'coloraxis' },
    { title: 'tested', z: grid((cell) => finite(tested[cell]!)), axis: 'coloraxis' },
    { title: '|tested − reference|', z: grid((cell) => log(difference[cell]!)), axis: 'coloraxis2' },
  ];
  const gap = wide ? 0.04 : 0.07;
  const span = (1 - 2 * gap) / 3;
  const along = (k: number): [number, number] => [k * (span + gap), k * (span + gap) + span];
  const data: Trace[] = [];
  const layout: Record<string, unknown> = {
    height: wide ? 430 : 980,
    margin: { l: 60, r: 20, t: 40, b: wide ? 110 : 120 },
    showlegend: false,
    coloraxis: {
      colorscale: low < 0 ? colors.diverging : colors.sequential,
      cmin: low < 0 ? -most : low,
      cmax: low < 0 ? most : high > low ? high : low + 1,
      colorbar: {
        orientation: 'h',
        thickness: 10,
        x: wide ? (along(0)[0] + along(1)[1]) / 2 : 0.24,
        len: wide ? 0.4 : 0.48,
        y: wide ? -0.24 : -0.1,
        yanchor: 'top',
        title: { text: 'value', side: 'top' },
      },
    },
    coloraxis2: {
      colorscale: colors.errors,
      showscale: mostError > 0,
      cmin: logLow,
      cmax: logHigh > logLow ? logHigh : logLow + 1,
      colorbar: {
        orientation: 'h',
        thickness: 10,
        x: wide ? (along(2)[0] + along(2)[1]) / 2 : 0.76,
        len: wide ? 0.3 : 0.48,
        y: wide ? -0.24 : -0.1,
        yanchor: 'top',
        title: { text: '|tested − reference|', side: 'top' },
        tickvals: errorTicks,
        ticktext: errorTicks.map((exponent) =>
          (10 ** exponent).toExponential(Number.isInteger(exponent) ? 0 : 1),
        ),
      },
    },
  };
  const bad: number[] = marks.flatMap((mark, cell) => (mark === '' ? [] : [cell]));
  const tickStep = Math.max(1, Math.ceil(gridRows / 10));
  const rowTicks = Array.from({ length: gridRows }, (_, row) => row).filter((row) => row % tickStep === 0);
  const columnStep = Math.max(1, Math.ceil(gridColumns / (wide ? 6 : 10)));
  const columnTicks = Array.from({ length: gridColumns }, (_, column) => column).filter(
    (column) => column % columnStep === 0,
  );
  const columnTitle =
    shape.length === 0
      ? 'one value a row'
      : shape.length === 1
        ? `element (${axes.map(plain).join('')})`
        : `element of [${axes.map(plain).join(', ')}] = [${shape.join(', ')}], flattened`;
  const annotations: unknown[] = [];
  for (const [k, { title, z, axis }] of panels.entries()) {
    const id = k === 0 ? '' : String(k + 1);
    // Plotly cannot place a map without any value: it gets some that are not seen.
    const isEmpty = z.every((row) => row.every((value) => value === null));
    data.push({
      type: 'heatmap',
      z: isEmpty ? grid(() => 0) : z,
      text,
      hoverinfo: 'text',
      xaxis: `x${id}`,
      yaxis: `y${id}`,
      coloraxis: axis,
      hoverongaps: true,
      opacity: isEmpty ? 0 : 1,
    });
    if (bad.length > 0)
      data.push({
        type: 'scatter',
        mode: 'markers',
        x: bad.map((cell) => cell % gridColumns),
        y: bad.map((cell) => Math.floor(cell / gridColumns)),
        text: bad.map((cell) => text[Math.floor(cell / gridColumns)]![cell % gridColumns]),
        hoverinfo: 'text',
        xaxis: `x${id}`,
        yaxis: `y${id}`,
        marker: { symbol: 'x', size: 7, color: colors.alarm },
      });
    const [from, to] = along(k);
    layout[`xaxis${id}`] = {
      domain: wide ? [from, to] : [0, 1],
      anchor: `y${id}`,
      ...(k === 0 ? {} : { matches: 'x' }),
      title: { text: wide ? (k === 1 ? columnTitle : '') : k === 2 ? columnTitle : '' },
      tickvals: columnTicks,
      ticktext: columnTicks.map((column) => String(columnStarts[column])),
      showgrid: false,
      zeroline: false,
    };
    layout[`yaxis${id}`] = {
      domain: wide ? [0, 1] : [1 - to, 1 - from],
      anchor: `x${id}`,
      autorange: 'reversed',
      ...(k === 0 ? {} : { matches: 'y' }),
      title: {
        text:
          k === 0 || !wide
            ? view.scope === 'step'
              ? 'forward step, by its last position'
              : 'token position'
            : '',
      },
      tickvals: rowTicks,
      ticktext: rowTicks.map(token),
      showticklabels: k === 0 || !wide,
      showgrid: false,
      zeroline: false,
    };
    annotations.push({
      text: title,
      xref: `x${id} domain`,
      yref: `y${id} domain`,
      x: 0,
      y: 1,
      xanchor: 'left',
      yanchor: 'bottom',
      showarrow: false,
    });
  }
  layout.annotations = annotations;
  const pooled = gridRows < view.rows || gridColumns < width;
  const binWidth = (histograms.most - histograms.least) / histograms.reference.length || 1;
  const centres = histograms.reference.map((_, bin) => histograms.least + (bin + 0.5) * binWidth);
  const share = histograms.stride === 1 ? 'all elements' : `one element in ${histograms.stride}`;
  const side = (label: string, counts: number[], color: string, dash: string) => ({
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
  const octaves = histograms.differences.map((_, k) => 2 ** (histograms.octave + k));
  const figures: PageFigure[] = [
    {
      name: 'tensor',
      title: '',
      description: `Heat maps of ${name}: reference, tested side and difference, tokens downwards${pooled ? ', pooled' : ''}.`,
      data,
      layout,
      opens: 'tap',
    },
    {
      name: 'values',
      title: `Values (${share})`,
      description: `Histogram of the values of ${name} on both sides.`,
      data: [
        side('reference', histograms.reference, colors.reference, 'solid'),
        side('tested', histograms.tested, colors.tested, 'dot'),
      ],
      layout: {
        height: 300,
        xaxis: { title: { text: 'value' } },
        yaxis: {
          title: { text: 'elements' },
          type: 'log',
          range: [
            Math.log10(0.5),
            Math.log10(2 * Math.max(1, ...histograms.reference, ...histograms.tested)),
          ],
        },
        legend: { orientation: 'h', y: 1.12, x: 1, xanchor: 'right' },
      },
      opens: 'tap',
    },
  ];
  // Without a difference there is nothing to draw.
  if (octaves.length > 0)
    figures.push({
      name: 'errors',
      title: `Errors (${share})<br><sub>${histograms.same} the same${histograms.notFinite > 0 ? `, ${histograms.notFinite} not finite on one side` : ''}</sub>`,
      description: `Histogram of the errors of ${name}, by octave.`,
      data: [
        {
          type: 'bar',
          x: octaves.map((size) => size * Math.SQRT2),
          y: histograms.differences,
          width: octaves,
          marker: { color: colors.error },
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
    });
  return figures;
}
