import { randomUUID } from 'node:crypto';
import { formatReport } from '../diff/format/report.js';
import type { DiffReport } from '../diff/report.js';
import { badArgument } from '../errors.js';
import { type Figure, figureJson } from '../plot/figure.js';
import { escapeHtml, figureHtml, pageScript, plotlySource } from '../plot/figure-html.js';
import { sendDisplay } from './kernel-display.js';
import { tableHtml } from './table-html.js';

/** What {@link show} can show. */
export type Showable = Figure | readonly Figure[] | DiffReport | string;

let hasBundle = false;

/**
 * Shows something below the cell that runs: figures, a comparison as its table, or text in columns.
 *
 * The first figure of a notebook brings plotly along (4.8 MB, once per start of the kernel). A page that was
 * loaded anew since takes it from the kernel's own files, which Jupyter serves: nothing comes from the
 * network. Below a figure that stays empty all the same (a notebook that is not trusted) stands what to do.
 * Each figure is also sent in plotly's own MIME type, for front ends that draw it themselves.
 *
 * @throws `BAD_ARGUMENT` outside a tslab notebook, for an empty list, and for a figure without a trace.
 */
export function show(content: Showable): void {
  if (typeof content === 'string') showText(content);
  else if (isList(content)) showFigures(content);
  else if ('layout' in content) showFigures([content]);
  else showText(formatReport(content));
}

/**
 * Shows rows as a table below the cell that runs. Columns are the keys of the rows; numbers have four
 * significant digits, other values are escaped text.
 *
 * @throws `BAD_ARGUMENT` outside a tslab notebook, and for no rows.
 */
export function showTable(rows: readonly object[]): void {
  if (rows.length === 0) throw badArgument('showTable', 'at least one row', 'none');
  sendDisplay('showTable', { 'text/html': tableHtml(rows), 'text/plain': `${rows.length} rows` });
}

function isList(content: Exclude<Showable, string>): content is readonly Figure[] {
  return Array.isArray(content);
}

function showText(text: string): void {
  sendDisplay('show', {
    'text/html': `<pre style="white-space:pre;overflow-x:auto">${escapeHtml(text)}</pre>`,
    'text/plain': text,
  });
}

function showFigures(figures: readonly Figure[]): void {
  if (figures.length === 0) throw badArgument('show', 'at least one figure', 'none');
  for (const figure of figures) showFigure(figure);
}

function showFigure(figure: Figure): void {
  const { data, layout } = JSON.parse(figureJson(figure)) as Figure;
  const html = `${figureHtml(figure, `zayascope-${randomUUID()}`, undefined, NOT_DRAWN)}\n${askScript()}`;
  sendDisplay('show', {
    'text/html': hasBundle ? html : `${bundleHtml()}\n${html}`,
    'application/vnd.plotly.v1+json': {
      data,
      layout: { title: { text: figure.title }, ...layout },
      // A front end that draws it itself has plotly's button that uploads the figure.
      config: { showSendToCloud: false, plotlyServerURL: '', displaylogo: false },
    },
    'text/plain': `${figure.title}. ${figure.description}`,
  });
  hasBundle = true;
}

/** A page that runs no scripts of saved outputs, or one that plotly cannot be had for. */
const NOT_DRAWN =
  'A script draws this figure. If it stays empty, choose File, Trust Notebook, or restart the kernel and run all cells.';

/**
 * Takes the script of the figures from the kernel's folder (`notebooks/kernels/tslab/start.mjs` puts it
 * there) where the page has none: it was loaded anew after the kernel had sent it.
 */
function askScript(): string {
  return `<script>(() => { const settings = document.getElementById('jupyter-config-data');
if (!settings || globalThis.Plotly || globalThis.zayascopeAsked) return;
globalThis.zayascopeAsked = true;
const script = document.createElement('script');
script.src = JSON.parse(settings.textContent).baseUrl + 'kernelspecs/tslab/figures.js';
document.head.append(script); })();</script>`;
}

/** Plotly and the page's own part. Figures that a front end drew before it wait for the event. */
function bundleHtml(): string {
  return `<script>${plotlySource()}</script>
<script>${pageScript()} dispatchEvent(new Event('zayascope-ready'));</script>`;
}
