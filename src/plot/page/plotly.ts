/// <reference lib="dom" />

/** What of plotly the pages use. */
export interface Plotly {
  react(element: HTMLElement, data: unknown, layout: unknown, config: unknown): Promise<unknown>;
  downloadImage(element: HTMLElement, options: object): unknown;
  Icons: { camera: unknown };
}

/** A clicked point. */
export interface ClickedPoint {
  customdata?: unknown;
}

/** An element that plotly has drawn in. */
export interface PlotElement extends HTMLElement {
  on?(event: 'plotly_click', listener: (event: { points: readonly ClickedPoint[] }) => void): void;
}

/** Plotly's global, which its own script sets. */
export function plotly(): Plotly {
  return (globalThis as unknown as { Plotly: Plotly }).Plotly;
}

/** Name of the tap that a point stands for: its `customdata`, or the first entry of that. */
export function tapOf({ customdata }: ClickedPoint): string | undefined {
  const name: unknown = Array.isArray(customdata) ? customdata[0] : customdata;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/**
 * Plotly's configuration of a figure. Its own buttons include one that uploads the figure to a server:
 * nothing of a page may leave it. @param name of a downloaded file.
 */
export function plotConfig(name: string): Readonly<Record<string, unknown>> {
  const download = (format: 'svg' | 'png') => ({
    name: `download-${format}`,
    title: `Download as ${format.toUpperCase()}`,
    icon: plotly().Icons.camera,
    click: (element: HTMLElement) => {
      const { width, height } = element.getBoundingClientRect();
      // Three pixels of a PNG for one of the page: sharp in print.
      const scale = format === 'png' ? 3 : 1;
      plotly().downloadImage(element, { format, width, height, scale, filename: name });
    },
  });
  return {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: '',
    modeBarButtonsToRemove: ['toImage', 'sendChartToCloud', 'sendDataToCloud'],
    modeBarButtonsToAdd: [download('svg'), download('png')],
  };
}
