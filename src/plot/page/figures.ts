/// <reference lib="dom" />
import type { Figure } from '../figure.js';
import { DARK, LIGHT } from '../theme.js';
import { isDark, THEME_ATTRIBUTES } from './is-dark.js';
import { type ClickedPoint, type PlotElement, plotConfig, plotly, tapOf } from './plotly.js';
import { themedLayout } from './themed-layout.js';

/** What a page finds as `window.zayascope` once the script of {@link pageScript} has run in it. */
export interface PageRuntime {
  /**
   * Draws a figure into an element, in the theme of the page, and again when that changes. Resolves when it
   * is drawn.
   */
  draw(element: HTMLElement, figure: Figure): Promise<void>;
  /** True where the page is dark. */
  isDark(): boolean;
  /** Called with the tap name of a clicked point, after it was copied. */
  onTap: ((tap: string) => void) | undefined;
}

/** Starts to draw figures in this page: sets `window.zayascope` and follows the page's theme. */
export function startFigures(): PageRuntime {
  const drawn = new Map<PlotElement, Figure>();
  const system = matchMedia('(prefers-color-scheme: dark)');
  const pageIsDark = (): boolean => isDark(document.documentElement, document.body, system.matches);

  const draw = async (element: PlotElement, figure: Figure): Promise<void> => {
    const isNew = !drawn.has(element);
    drawn.set(element, figure);
    const layout = themedLayout(figure, pageIsDark() ? DARK : LIGHT);
    await plotly().react(element, figure.data, layout, plotConfig(figure.name ?? 'figure'));
    if (isNew) element.on?.('plotly_click', ({ points }) => clicked(element, points, runtime));
  };
  const redraw = (): void => {
    for (const [element, figure] of drawn)
      if (element.isConnected) void draw(element, figure);
      else drawn.delete(element);
  };
  const runtime: PageRuntime = { draw, isDark: pageIsDark, onTap: undefined };

  (globalThis as unknown as { zayascope: PageRuntime }).zayascope = runtime;
  system.addEventListener('change', redraw);
  const watched = { attributes: true, attributeFilter: [...THEME_ATTRIBUTES] };
  const observer = new MutationObserver(redraw);
  observer.observe(document.documentElement, watched);
  if (document.body) observer.observe(document.body, watched);
  return runtime;
}

/** Copies the name of the tap that was clicked, and shows it below the figure. */
function clicked(element: HTMLElement, points: readonly ClickedPoint[], runtime: PageRuntime): void {
  const tap = points.map(tapOf).find(Boolean);
  if (tap === undefined) return;
  note(element, tap);
  const copying = navigator.clipboard?.writeText(tap);
  copying?.then(
    () => note(element, `${tap} (copied)`),
    () => {},
  );
  runtime.onTap?.(tap);
}

function note(element: HTMLElement, text: string): void {
  const output = element.parentElement?.querySelector('.zayascope-tap');
  if (output) output.textContent = text;
}
