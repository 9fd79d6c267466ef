/// <reference lib="dom" />
import type { PageRuntime } from '../../plot/page/figures.js';
import { type PlotElement, tapOf } from '../../plot/page/plotly.js';
import type { PageFigure } from './data.js';
import { makeElement } from './elements.js';

/** Draws a figure into a host, in place of what it held. Resolves when it is drawn. */
export type Plot = (host: HTMLElement, figure: PageFigure) => Promise<void>;

/**
 * What draws figures, and calls `onTap` with the tap of a point that is clicked. Plotly stands behind this
 * script: drawing waits for it.
 */
export function plotter(
  runtime: PageRuntime,
  onTap: (tap: string, opens: PageFigure['opens']) => void,
): Plot {
  const loaded = new Promise((resolve) => addEventListener('DOMContentLoaded', resolve));
  return async (host, figure) => {
    const target: PlotElement = makeElement('div', 'plot');
    const { height } = figure.layout;
    target.style.height = `${typeof height === 'number' ? height : 380}px`;
    target.setAttribute('role', 'img');
    target.setAttribute('aria-label', figure.description);
    host.replaceChildren(target, makeElement('output', 'zayascope-tap count'));
    await loaded;
    await runtime.draw(target, figure);
    target.on?.('plotly_click', ({ points: [point] }) => {
      const tap = point === undefined ? undefined : tapOf(point);
      if (tap !== undefined) onTap(tap, figure.opens);
    });
  };
}

/**
 * Draws the page's figures into their places: the first at once, the others when they come near the window.
 */
export function drawWhenSeen(figures: readonly PageFigure[], plot: Plot): void {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        void plot(target as HTMLElement, figures[Number((target as HTMLElement).dataset.figure)]!);
      }
    },
    { rootMargin: '300px' },
  );
  const [first, ...others] = document.querySelectorAll<HTMLElement>('[data-figure]');
  const opened = Promise.all([
    first === undefined ? undefined : plot(first, figures[0]!),
    new Promise((resolve) => addEventListener('load', resolve)),
  ]);
  opened.then(() => {
    for (const host of others) observer.observe(host);
    // Milliseconds from the start of loading until there is something to work with.
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
}
