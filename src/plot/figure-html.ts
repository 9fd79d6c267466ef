import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { bundledScript } from './bundle.js';
import { type Figure, figureJson, scriptJson } from './figure.js';
import { DARK, LIGHT } from './theme.js';

let bundle: string | undefined;

/** Source text of the pinned plotly bundle (about 4.8 MB), safe to stand in a script element. Read once. */
export function plotlySource(): string {
  bundle ??= readFileSync(
    createRequire(import.meta.url).resolve('plotly.js-dist-min/plotly.min.js'),
    'utf8',
  ).replaceAll('</script', '<\\/script');
  return bundle;
}

/**
 * Source text of the page's own part, safe to stand in a script element: defines `window.zayascope`, see
 * `PageRuntime`. Plotly must have been loaded before it draws.
 *
 * @throws `IO` where the library was not built.
 */
export function pageScript(): string {
  return bundledScript('figures');
}

/**
 * A figure as HTML: an element, its data, and a script that draws it once {@link plotlySource} and {@link
 * pageScript} have run in the page. A click on a point copies its tap's name and shows it below.
 *
 * @param id of the element, unique in the page: letters, digits, `-` and `_`.
 * @param heightPixels default 450, or what the figure's layout says.
 * @param note shown below until the figure is drawn: what to do if it never is.
 */
export function figureHtml(figure: Figure, id: string, heightPixels?: number, note = ''): string {
  const height = heightPixels ?? (typeof figure.layout.height === 'number' ? figure.layout.height : 450);
  const name = escapeHtml(id);
  return `<figure class="zayascope-figure" style="margin:0 0 1em">
<div id="${name}" role="img" aria-label="${escapeHtml(`${figure.title}. ${figure.description}`)}" style="width:100%;height:${height}px"></div>
<output class="zayascope-tap" style="display:block;min-height:1.3em;font:12px monospace;user-select:all">${escapeHtml(note)}</output>
<script>(() => { const element = document.getElementById(${scriptJson(id)});
const draw = () => { element.nextElementSibling.textContent = ''; zayascope.draw(element, ${figureJson(figure)}); };
if (globalThis.zayascope && globalThis.Plotly) draw(); else addEventListener('zayascope-ready', draw, { once: true }); })();</script>
</figure>`;
}

/** A whole page with figures, self-contained: what the browser tests and `figurePage` callers open. */
export function figurePage(title: string, figures: readonly Figure[]): string {
  const body = figures.map((figure, index) => figureHtml(figure, `figure-${index}`)).join('\n');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>
<meta name="color-scheme" content="light dark">
<style>:root{color-scheme:light dark}body{margin:16px;font-family:system-ui,sans-serif;background:${LIGHT.paper};color:${LIGHT.text}}
@media(prefers-color-scheme:dark){body{background:${DARK.paper};color:${DARK.text}}}</style>
<script>${plotlySource()}</script></head>
<body><script>${pageScript()}</script>
${body}
</body></html>
`;
}

/** Text that may stand in HTML, in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}
