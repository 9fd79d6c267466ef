import { orderWords } from '../../diff/tap-order.js';
import { createHash } from 'node:crypto';
import type { Outcome } from '../../diff/outcome.js';
import { sameWords } from '../../diff/format/report.js';
import { comparedTaps } from '../../diff/summary.js';
import type { DiffReport } from '../../diff/report.js';
import { unscoredChoices } from '../../diff/routing-scores.js';
import { formatError, formatShare } from '../../text-table.js';
import type { LocateReport } from '../../locate/faults/report.js';
import type { TapNoise } from '../../locate/noise/noise-floor.js';
import { scriptJson } from '../../plot/figure.js';
import { bundledScript } from '../../plot/bundle.js';
import { escapeHtml, plotlySource } from '../../plot/figure-html.js';
import type { PageData } from '../page/data.js';
import type { ManifestFact } from './manifests.js';
import { reportStyle } from './style.js';
import type { ReproduceCommand } from './reproduce.js';

/** Everything that a page shows. */
export interface ReportContent {
  title: string;
  outcome: Outcome;
  sentence: string;
  diff: DiffReport;
  /** The noise floor, and the name of its dump. */
  noise: { label: string; taps: readonly TapNoise[] } | null;
  located: LocateReport | null;
  /** What was left out. */
  notes: readonly string[];
  data: PageData;
  /** Texts that `packViews` made. */
  packs: readonly string[];
  manifests: { facts: readonly ManifestFact[]; reference: string; tested: string };
  commands: readonly ReproduceCommand[];
}

/**
 * The page. Everything that comes from a dump is escaped where it is written into HTML and set as text by the
 * page's script. Its security policy names the hashes of its two scripts: no other one runs, and nothing is
 * loaded.
 */
export function reportHtml(content: ReportContent): string {
  const { title, outcome, sentence, diff, data, packs } = content;
  // The page's own script first: verdict and tables can be read while the browser is still busy with the
  // large one.
  const scripts = [bundledScript('report'), plotlySource()].map(inScriptElement);
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(scriptHash).join(' ')}`,
    // Plotly sets styles on its elements, and draws heat maps as data URLs.
    "style-src 'unsafe-inline'",
    'img-src data: blob:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const name = escapeHtml(title);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${escapeHtml(outcome)}: ${name}</title>
<style>${reportStyle()}</style>
</head>
<body>
<header>
<h1>${name}</h1>
${sides(content)}
<p class="verdict ${outcome === 'PASS' ? 'pass' : outcome === 'FAIL' ? 'fail' : ''}"><strong>${escapeHtml(outcome)}</strong><span>${escapeHtml(sentence)}</span></p>
${warnings(content)}
${keyFacts(content)}
${navigation(content)}
<noscript><p>Plots, tables and tensors need JavaScript; this page's own, nothing is loaded.</p></noscript>
</header>
<main>
${figures(data)}
<h2 id="blocks">Blocks</h2>
<div id="blocks-table"></div>
<section id="taps" aria-labelledby="block-title">
<h2 id="block-title">Taps</h2>
<div class="bar"><label>Block <select id="block-choice"></select></label>
<label><input type="checkbox" id="differing-only"> only what differs</label></div>
<div id="block-plot"></div>
<div id="taps-table"></div>
</section>
<section id="tap" aria-labelledby="tap-title" hidden>
<h2 id="tap-title" tabindex="-1"></h2>
<div class="bar"><button type="button" id="tap-copy" data-label="Copy name">Copy name</button>
<button type="button" id="tap-block">Taps of its block</button>
<button type="button" id="tap-before">← Tap before</button><button type="button" id="tap-after">Tap after →</button></div>
<dl class="facts" id="tap-facts"></dl>
<p id="tap-note" role="status"></p>
<div id="tap-grids"></div>
<div class="pair"><div id="tap-values"></div><div id="tap-errors"></div></div>
</section>
${section(data.routing.rows.length > 0, 'routing', 'Tokens that took another expert')}
${section(data.logits.rows.length > 0, 'logits', 'Logits by token')}
${section(data.unpaired.rows.length > 0, 'unpaired', 'Not paired')}
${manifestSection(content)}
${commandSection(content)}
${READING}
</main>
<footer><p>Made by zayascope from two dumps${diff.taps === '**' ? '' : ` (taps ${escapeHtml(diff.taps)})`}. This file needs no network and sends nothing.</p></footer>
<script type="application/json" id="report-data">${scriptJson(data)}</script>
${packs.map((pack, at) => `<script type="text/plain" id="pack-${at}">${pack}</script>`).join('\n')}
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</body>
</html>
`;
}

/**
 * Script text that can neither end its element nor open a comment in it; strings and regular expressions mean
 * the same.
 */
function inScriptElement(source: string): string {
  return source.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--').replaceAll(/\r\n?/g, '\n');
}

function scriptHash(script: string): string {
  return `'sha256-${createHash('sha256').update(script).digest('base64')}'`;
}

function sides({ diff, noise }: ReportContent): string {
  const side = (
    label: string,
    { label: name, policy, backend, model, status }: DiffReport['reference'],
  ): string =>
    `${label} <b>${escapeHtml(name)}</b> (${escapeHtml([policy, backend, `model ${model.name}`, ...(status === 'partial' ? ['partial'] : [])].join(', '))})`;
  const floor = noise === null ? '' : `; noise floor <b>${escapeHtml(noise.label)}</b>`;
  return `<p class="sides">${side('Reference', diff.reference)}; ${side('tested', diff.tested)}${floor}</p>`;
}

function warnings({ diff, located, notes: leftOut }: ReportContent): string {
  const { notes, unpaired, notCaptured, kind } = diff;
  const lines = [
    ...notes,
    ...(unpaired.length === 0
      ? []
      : [
          `${unpaired.length} ${unpaired.length === 1 ? 'entry' : 'entries'} could not be paired; they are listed below.`,
        ]),
    ...notCaptured.map(
      ({ side, selection, taps, rows }) =>
        `The ${side} dump was not asked to capture everything (${selection}): ${taps} taps and ${rows} rows of the other side were not compared.`,
    ),
    ...(kind === 'tensors' ? [] : ['The dumps do not both hold tensors: there are no tensor views.']),
    ...leftOut,
    ...(located?.otherFile ? [located.otherFile] : []),
    ...(located?.notes ?? []).filter((note) => !notes.includes(note)),
  ];
  if (lines.length === 0) return '';
  return `<ul class="warnings" aria-label="Warnings">\n${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('\n')}\n</ul>`;
}

function keyFacts({ diff, noise, located }: ReportContent): string {
  const { tapReports, unpaired, failAbove, firstDivergence, logits, routing } = diff;
  const tapButton = (tap: string): string =>
    `<button type="button" class="link" data-tap="${escapeHtml(tap)}">${escapeHtml(tap).replaceAll(/[.:]/g, '$&<wbr>')}</button>`;
  const facts: [string, string][] = [
    ['taps compared', `${comparedTaps(tapReports).length}, ${sameWords(diff)}`],
    ['not paired', String(unpaired.length)],
    ['limit', failAbove === null ? 'none' : `energy NMSE ${failAbove}`],
    [`first divergence${orderWords(diff.order)}`, firstDivergence === null ? 'none' : tapButton(firstDivergence.tap)],
  ];
  if (logits !== null)
    facts.push(
      ['KL of the logits', `mean ${formatError(logits.klMean)}, max ${formatError(logits.klMax)} nats`],
      ['same top token', `${formatShare(logits.top1Agreement)} of ${logits.tokens.length}`],
    );
  if (routing !== null) facts.push(['routing', `${routing.flipped} of ${routing.choices} choices flipped${unscoredChoices(routing)}`]);
  if (noise !== null) {
    const { label, taps } = noise;
    const within = taps.filter(({ verdict }) => verdict === 'identical' || verdict === 'within noise').length;
    facts.push([`noise floor ${label}`, `${within} of ${taps.length} taps within it`]);
  }
  if (located !== null)
    facts.push(['first op at fault', located.firstFault === null ? 'none' : tapButton(located.firstFault)]);
  return `<dl class="facts">\n${facts.map(([term, value]) => `<div><dt>${escapeHtml(term)}</dt><dd>${value}</dd></div>`).join('\n')}\n</dl>`;
}

function navigation({ data }: ReportContent): string {
  const links = [
    ['blocks', 'Blocks'],
    ['taps', 'Taps'],
    ...(data.routing.rows.length > 0 ? [['routing', 'Routing']] : []),
    ...(data.logits.rows.length > 0 ? [['logits', 'Logits']] : []),
    ...(data.unpaired.rows.length > 0 ? [['unpaired', 'Not paired']] : []),
    ['manifests', 'Manifests'],
    ['commands', 'Commands'],
    ['reading', 'How to read it'],
  ];
  return `<nav aria-label="Sections">${links.map(([id, text]) => `<a href="#${id}">${text}</a>`).join('\n')}</nav>`;
}

function figures({ figures: all }: PageData): string {
  return all
    .map(
      ({ description, opens, layout }, at) =>
        `<figure><div data-figure="${at}" style="min-height:${Number(layout.height) || 380}px"></div><figcaption>${escapeHtml(description)} A click on a point opens ${opens === 'tap' ? 'its tap' : 'the taps of its block'}.</figcaption></figure>`,
    )
    .join('\n');
}

function section(shown: boolean, id: string, heading: string): string {
  return shown ? `<h2 id="${id}">${heading}</h2>\n<div id="${id}-table"></div>` : '';
}

function manifestSection({ manifests: { facts, reference, tested } }: ReportContent): string {
  const rows = facts.map(
    ({ what, reference: a, tested: b }) =>
      `<tr${a === b ? '' : ' class="differs"'}><th scope="row">${escapeHtml(what)}</th><td>${escapeHtml(a)}</td><td>${escapeHtml(b)}</td></tr>`,
  );
  return `<h2 id="manifests">Manifests</h2>
<div class="table-scroll" tabindex="0" role="region" aria-label="Manifests"><table class="manifests"><thead><tr><td></td><th scope="col">reference</th><th scope="col">tested</th></tr></thead><tbody>
${rows.join('\n')}
</tbody></table></div>
<details><summary>Whole manifest of the reference</summary><pre tabindex="0">${escapeHtml(reference)}</pre></details>
<details><summary>Whole manifest of the tested dump</summary><pre tabindex="0">${escapeHtml(tested)}</pre></details>`;
}

function commandSection({ commands }: ReportContent): string {
  const blocks = commands.map(
    ({ what, command }, at) =>
      `<div class="command"><p>${escapeHtml(what)}</p><pre id="command-${at}" tabindex="0">${escapeHtml(command)}</pre><button type="button" data-copy="command-${at}" data-label="Copy">Copy</button></div>`,
  );
  return `<h2 id="commands">Commands</h2>\n${blocks.join('\n')}`;
}

const READING = `<h2 id="reading">How to read it</h2>
<p>A tap is one value of the model, named by the module that makes it; <code>module:name</code> is a value inside a module. Errors are energy NMSE, Σ(tested − reference)² / Σ reference²: 0 is equal, 1 is as wrong as zeros
would be. Integers, such as the chosen experts, are equal or not.</p>
<p>Tensors are sampled: a grid has tokens downwards and the elements of a row, flattened, to the right. Where a tensor has more elements than a grid has cells, a cell of reference and tested shows the element
of its rectangle that is largest in magnitude on either side, and a cell of the difference the largest difference; NaN and infinity count as largest and are marked with a cross. Cells are
stored in one byte: values are off by up to 0.2 % of the range shown, differences by up to 10 %, and differences below 1e-9 of the largest are shown as that. The tables hold exact figures.
Histograms count evenly spread elements; their titles say how many.</p>`;
