import type { Theme } from './theme.js';

/** What a page finds as `window.zayascope` once {@link pageRuntime} has run in it. */
export interface PageRuntime {
  /** Draws a figure into an element, in the theme of the page, and again when that changes. Resolves when it is drawn. */
  draw(element: unknown, figure: unknown): Promise<void>;
  /** True where the page is dark. */
  isDark(): boolean;
  /** Called with the tap name of a clicked point, after it was copied. */
  onTap: ((tap: string) => void) | undefined;
}

/** The page's globals, named here because the library is compiled without the DOM's types. */
// biome-ignore lint/suspicious/noExplicitAny: the browser's objects, in a function that never runs in Node
type Browser = any;

/**
 * Runs in the page: its source text is what `pageScript` writes there, so it uses nothing from outside itself.
 *
 * The theme is dark where JupyterLab says so (`data-jp-theme-light`), where VS Code does (`data-vscode-theme-kind`), where the page does (`data-theme`), else where the system prefers it.
 */
export function pageRuntime(window: Browser, themes: { light: Theme; dark: Theme }): void {
  const { document } = window;
  const drawn = new Map<Browser, Browser>();

  function isDark(): boolean {
    const { body, documentElement: root } = document;
    const jupyter = body?.getAttribute('data-jp-theme-light');
    if (jupyter) return jupyter === 'false';
    const code = body?.getAttribute('data-vscode-theme-kind');
    if (code) return code.includes('dark') || code === 'vscode-high-contrast';
    const own = root.getAttribute('data-theme');
    if (own) return own === 'dark';
    return window.matchMedia('(prefers-color-scheme: dark)').matches;
  }

  function themed(layout: Browser): Browser {
    const theme = isDark() ? themes.dark : themes.light;
    const result: Browser = {
      margin: { l: 72, r: 24, t: 72, b: 56 },
      hovermode: 'closest',
      ...layout,
      paper_bgcolor: theme.paper,
      plot_bgcolor: theme.paper,
      font: { family: 'system-ui, sans-serif', size: 12, ...layout.font, color: theme.text },
      hoverlabel: {
        bgcolor: theme.hover,
        bordercolor: theme.line,
        font: { color: theme.text },
        align: 'left',
        namelength: -1,
        ...layout.hoverlabel,
      },
    };
    const axes = new Set(Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key)));
    for (const key of ['xaxis', 'yaxis', ...axes])
      result[key] = {
        ...(layout[key]?.showgrid === false ? {} : { gridcolor: theme.grid }),
        ...(layout[key]?.zeroline === false ? {} : { zerolinecolor: theme.grid }),
        linecolor: theme.line,
        automargin: true,
        ...layout[key],
      };
    return result;
  }

  function note(element: Browser, text: string): void {
    const output = element.parentElement?.querySelector('.zayascope-tap');
    if (output) output.textContent = text;
  }

  function tapOf(point: Browser): string | undefined {
    const data = point.customdata;
    const name = Array.isArray(data) ? data[0] : data;
    return typeof name === 'string' && name !== '' ? name : undefined;
  }

  function clicked(element: Browser, event: Browser): void {
    const tap = event.points.map(tapOf).find(Boolean);
    if (tap === undefined) return;
    note(element, tap);
    const copying = window.navigator.clipboard?.writeText(tap);
    copying?.then(
      () => note(element, `${tap} (copied)`),
      () => {},
    );
    window.zayascope.onTap?.(tap);
  }

  /** Plotly's own buttons include one that uploads the figure to a server: nothing of a page may leave it. */
  function config(figure: Browser): Browser {
    const download = (format: 'svg' | 'png') => ({
      name: `download-${format}`,
      title: `Download as ${format.toUpperCase()}`,
      icon: window.Plotly.Icons.camera,
      click: (element: Browser) => {
        const { width, height } = element.getBoundingClientRect();
        const filename = figure.name ?? 'figure';
        // Three pixels of a PNG for one of the page: sharp in print.
        const scale = format === 'png' ? 3 : 1;
        window.Plotly.downloadImage(element, { format, width, height, scale, filename });
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

  async function draw(element: Browser, figure: Browser): Promise<void> {
    const isNew = !drawn.has(element);
    drawn.set(element, figure);
    const title = {
      x: 0,
      xref: 'paper',
      xanchor: 'left',
      ...figure.layout.title,
      text: figure.layout.title?.text ?? figure.title,
    };
    await window.Plotly.react(element, figure.data, themed({ ...figure.layout, title }), config(figure));
    if (isNew) element.on('plotly_click', (event: Browser) => clicked(element, event));
  }

  function redraw(): void {
    for (const [element, figure] of drawn)
      if (element.isConnected) draw(element, figure);
      else drawn.delete(element);
  }

  window.zayascope = { draw, isDark, onTap: undefined };
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  const watched = {
    attributes: true,
    attributeFilter: ['data-jp-theme-light', 'data-vscode-theme-kind', 'data-theme'],
  };
  const observer = new window.MutationObserver(redraw);
  observer.observe(document.documentElement, watched);
  if (document.body) observer.observe(document.body, watched);
}
