import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBrowser, openPage, validatePlots, waitForPlots } from '../browser.js';
import { chromiumPath, describeWith } from '../system-package.js';
import { executeNotebooks, type NotebookRun, notebookNames, notebooksFolder, pointsOf } from './execute.js';
import { numberEntries, uncoveredNumbers } from './prose-numbers.js';

const out = join(import.meta.dirname, '..', '..', 'out', 'notebooks', 'exports');
const names = notebookNames();

/** Code cells that must fail. */
const FAULTY = {
  'type-error': ["import * as zs from 'zayascope';", 'const folder: number = zs.DTYPES[0];'],
  'type-of-a-value': [
    "import * as zs from 'zayascope';",
    "const dump = await zs.Dump.open('../dumps/tiny/reference-float32');",
    'const missing = dump.manifest.noSuchField;',
  ],
  'wrong-option': [
    "import * as zs from 'zayascope';",
    "await zs.capture(undefined, [[1]], { out: '../out/x', tier: 'half' });",
  ],
  'typed-array': [
    "import * as zs from 'zayascope';",
    "const dump = await zs.Dump.open('../dumps/tiny/reference-float32');",
    "const batch = await dump.read('layers.0');",
    'const text: string = zs.toFloat32(batch.data, batch.dtype);',
  ],
  'type-error-graph': ["import { add } from 'zayascope/graph';", 'const sum: number = add;'],
  'type-error-plot': [
    "import { nmsePerTap } from 'zayascope/plot';",
    'const figure: number = nmsePerTap([]);',
  ],
  'type-error-format': [
    "import { formatReport } from 'zayascope/format';",
    'const text: number = formatReport;',
  ],
  throws: ["throw new Error('on purpose');"],
};

const runs = new Map<string, NotebookRun>();

function runOf(name: string): NotebookRun {
  const run = runs.get(name);
  if (run === undefined) throw new Error(`expected a run of ${name}, found none`);
  return run;
}

let errors: Record<string, string | null> = {};

beforeAll(async () => {
  const executed = await executeNotebooks(names, FAULTY, out);
  for (const run of executed.runs) runs.set(run.name, run);
  errors = executed.errors;
}, 480_000);

describe.each(names)('notebook %s', (name) => {
  it('runs to its end, without a TypeScript error, in under a minute', () => {
    const { error, stderr, seconds } = runOf(name);
    expect({ error, stderr }).toEqual({ error: null, stderr: '' });
    expect(seconds).toBeLessThan(60);
  });

  it('shows figures, none of them empty', () => {
    const { figures } = runOf(name);
    expect(figures.length).toBeGreaterThan(0);
    const empty = figures.filter(({ data }) => !data.some((trace) => pointsOf(trace) > 0));
    expect(empty.map(({ layout }) => layout.title?.text)).toEqual([]);
  });

  it('has no number in its prose that the run could contradict', () => {
    const prose = textOf(name)
      .replace(/\$[^$]*\$|\]\([^)]*\)/g, '')
      .replace(/^#.*$/gm, '');
    const entries = numberEntries(name);
    expect(uncoveredNumbers(prose, entries)).toEqual([]);
    const { text } = runOf(name);
    for (const [words, source] of entries) {
      if ('holds' in source) expect([words, source.holds]).toEqual([words, true]);
      if ('printed' in source) expect(text, words).toMatch(source.printed);
    }
  });

  it('is committed without outputs', () => {
    const { cells } = JSON.parse(readFileSync(join(notebooksFolder, `${name}.ipynb`), 'utf8')) as {
      cells: { cell_type: string; outputs?: unknown[]; execution_count?: unknown }[];
    };
    const code = cells.filter(({ cell_type }) => cell_type === 'code');
    expect(code.filter(({ outputs, execution_count }) => outputs?.length || execution_count)).toEqual([]);
  });

  it('imports the public API only', () => {
    const { cells } = JSON.parse(readFileSync(join(notebooksFolder, `${name}.ipynb`), 'utf8')) as {
      cells: { cell_type: string; source: string | string[] }[];
    };
    const code = cells
      .filter(({ cell_type }) => cell_type === 'code')
      .map(({ source }) => [source].flat().join(''));
    const imported = code.flatMap((text) =>
      [...text.matchAll(/^import .*?from '([^']+)'|\b(?:require|import)\('([^']+)'\)/gm)].map(
        (found) => found[1] ?? found[2]!,
      ),
    );
    expect(imported).toContain('zayascope');
    expect(imported.filter((from) => !/^(zayascope(\/(graph|plot|format))?$|node:)/.test(from))).toEqual([]);
  });
});

describe('a notebook fails', () => {
  it.each([
    ['type-error', "Type 'string' is not assignable to type 'number'"],
    ['type-of-a-value', "Property 'noSuchField' does not exist on type 'Manifest'"],
    ['wrong-option', "Type '\"half\"' is not assignable to type 'DumpTier'"],
    ['typed-array', "Type 'Float32Array' is not assignable to type 'string'"],
    ['type-error-graph', "Type '(a: Tensor, b: Tensor) => Tensor' is not assignable to type 'number'"],
    ['type-error-plot', "Type 'Figure' is not assignable to type 'number'"],
    ['type-error-format', "=> string' is not assignable to type 'number'"],
    ['throws', 'Error: on purpose'],
  ])('on %s', (name, message) => {
    expect(errors[name]).toContain(message);
  });
});

/** Source of a notebook's cells of text, without what is code. */
function textOf(name: string): string {
  const { cells } = JSON.parse(readFileSync(join(notebooksFolder, `${name}.ipynb`), 'utf8')) as {
    cells: { cell_type: string; source: string | string[] }[];
  };
  const texts = cells.filter(({ cell_type }) => cell_type === 'markdown');
  return texts
    .map(({ source }) => [source].flat().join(''))
    .join('\n\n')
    .replace(/```[\s\S]*?```|`[^`]*`/g, '');
}

/** How many formulas a notebook has. */
function formulasOf(name: string): number {
  return textOf(name).match(/\$[^$]+\$/g)?.length ?? 0;
}

/** Formulas that have been drawn, and cells of text in which LaTeX is left. */
async function drawnFormulas(page: Page): Promise<{ drawn: number; left: string[] }> {
  return await page.evaluate(() => {
    const all = [...globalThis.document.querySelectorAll('.jp-RenderedMarkdown math')];
    const seen = all.filter((each) => {
      const { width, height } = each.getBoundingClientRect();
      return width > 4 && height > 4;
    });
    const cells = [...globalThis.document.querySelectorAll('.jp-RenderedMarkdown')].map((cell) => {
      const copy = cell.cloneNode(true) as Element;
      for (const code of copy.querySelectorAll('pre, code')) code.remove();
      return copy.textContent ?? '';
    });
    return { drawn: seen.length, left: cells.filter((text) => /\$|\\[a-z]/.test(text)) };
  });
}

describe('a number in prose', () => {
  it('is found in digits and in words, and covered by the words around it', () => {
    const text = 'It leaps by eleven orders, to 1.2e-2, in block 0.';
    expect(uncoveredNumbers(text, [['block 0', { is: 'name' }]])).toHaveLength(2);
    const entries = [['by eleven orders, to 1.2e-2, in block 0', { is: 'quoted' }]] as const;
    expect(uncoveredNumbers(text, entries)).toEqual([]);
  });
});

describe('an empty plot', () => {
  it('is told from one with points', () => {
    expect(pointsOf({ type: 'scatter', x: [1, 2], y: [null, null] })).toBe(0);
    expect(pointsOf({ type: 'heatmap', z: [[], [null]] })).toBe(0);
    expect(pointsOf({ type: 'histogram', x: [] })).toBe(0);
    expect(pointsOf({ type: 'scatter', x: [1], y: { dtype: 'f4', bdata: '' } })).toBe(0);
    expect(pointsOf({ type: 'heatmap', z: [[0, null]] })).toBe(1);
    expect(
      pointsOf({ type: 'heatmap', z: { dtype: 'f4', bdata: 'AAAAAA==', shape: '1,1' } }),
    ).toBeGreaterThan(0);
  });
});

describeWith('Chromium', chromiumPath() !== undefined, 'the HTML export', () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(() => browser?.close());

  it.each(names)('of %s draws every figure, with no error and no request', async (name) => {
    const { page: file, figures } = runOf(name);
    const { page, errors, requests, close } = await openPage(browser, readFileSync(file, 'utf8'));
    try {
      await waitForPlots(page, figures.length);
      expect(await page.locator('.zayascope-figure .js-plotly-plot .main-svg').count()).toBeGreaterThan(0);
      expect(await page.locator('.zayascope-figure:has(.js-plotly-plot)').count()).toBe(figures.length);
      expect(await validatePlots(page)).toEqual([]);
      expect(await drawnFormulas(page)).toEqual({ drawn: formulasOf(name), left: [] });
      expect({ errors, requests }).toEqual({ errors: [], requests: [] });
    } finally {
      await close();
    }
  });
});
