import type { Trace } from '../figure.js';
import { FAULT_COLOR } from '../theme.js';

/** Settings in plotly's own terms. */
type Part = Readonly<Record<string, unknown>>;

/**
 * One of several heat maps that share their axes: reference, tested side and difference; or the facets of a
 * tensor.
 */
export interface HeatPanel {
  /** Stands above its upper left corner, as plotly reads text; '' for none. */
  caption: string;
  /** Rows of cells, the first on top; null where there is nothing to show. */
  z: readonly (readonly (number | null)[])[];
  /** The rest of the heat map: where its cells lie, their colours, what the hover says. */
  map: Part;
  /** Cells that are not finite, marked with a cross: where they lie (`x`, `y`), what the hover says. */
  marks: Part & { readonly x: readonly number[] };
  /** Its axes: domain, title, ticks. */
  xaxis: Part;
  yaxis: Part;
}

/**
 * Traces, axes and captions of heat maps that zoom together. Used by the library's figures and by the page of
 * a report, so it needs nothing that a browser lacks.
 */
export function heatPanels(panels: readonly HeatPanel[]): {
  data: Trace[];
  layout: { annotations: Part[]; [axis: string]: unknown };
} {
  const data: Trace[] = [];
  const annotations: Part[] = [];
  const axes: Record<string, unknown> = {};
  for (const [index, panel] of panels.entries()) {
    const id = index === 0 ? '' : String(index + 1);
    axes[`xaxis${id}`] = { anchor: `y${id}`, ...panel.xaxis, ...(index === 0 ? {} : { matches: 'x' }) };
    axes[`yaxis${id}`] = { anchor: `x${id}`, ...panel.yaxis, ...(index === 0 ? {} : { matches: 'y' }) };
    const place = { xaxis: `x${id}`, yaxis: `y${id}` };
    data.push({ type: 'heatmap', ...place, ...panel.map, ...seen(panel.z) });
    if (panel.marks.x.length > 0)
      data.push({
        type: 'scatter',
        mode: 'markers',
        ...place,
        marker: { symbol: 'x', size: 8, color: FAULT_COLOR },
        showlegend: false,
        ...panel.marks,
      });
    if (panel.caption !== '')
      annotations.push({
        text: panel.caption,
        showarrow: false,
        xref: `x${id} domain`,
        yref: `y${id} domain`,
        x: 0,
        y: 1,
        xanchor: 'left',
        yanchor: 'bottom',
        font: { size: 11 },
      });
  }
  return { data, layout: { ...axes, annotations } };
}

/** Plotly cannot place a map without any value: it gets some that are not seen. */
function seen(z: HeatPanel['z']): Part {
  const isEmpty = z.every((row) => row.every((value) => value === null));
  return isEmpty ? { z: z.map((row) => row.map(() => 0)), opacity: 0 } : { z };
}
