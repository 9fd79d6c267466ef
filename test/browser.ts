import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import type { Figure } from '../src/plot/figure.js';
import { figurePage } from '../src/plot/figure-html.js';
import { chromiumPath } from './system-package.js';

/** Headless Chromium. Close it when done. Throws where none is installed: guard with `describeWith`. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = chromiumPath();
  if (executablePath === undefined)
    throw new Error('expected Chromium (Debian: apt-get install chromium), found none');
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
}

/** An open page, and all that it must not do. */
export interface WatchedPage {
  page: Page;
  /** Errors of the console and of scripts. */
  errors: string[];
  /** Requests beyond the page's own file. */
  requests: string[];
  close(): Promise<void>;
}

/** Opens HTML from a file of its own, as a person would, and records errors and requests. */
export async function openPage(
  browser: Browser,
  html: string,
  options: { colorScheme?: 'light' | 'dark'; width?: number; height?: number } = {},
): Promise<WatchedPage> {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-page-'));
  const file = join(folder, 'page.html');
  writeFileSync(file, html);
  const context = await browser.newContext({
    colorScheme: options.colorScheme ?? 'light',
    viewport: { width: options.width ?? 1280, height: options.height ?? 900 },
  });
  const page = await context.newPage();
  const errors: string[] = [];
  const requests: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  const own = pathToFileURL(file).href;
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && request.url().split('#')[0] !== own)
      requests.push(request.url());
  });
  await page.goto(own);
  return {
    page,
    errors,
    requests,
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until plotly has drawn this many figures. */
export async function waitForPlots(page: Page, count: number): Promise<void> {
  await page.waitForFunction(
    (expected) =>
      globalThis.document.querySelectorAll('.js-plotly-plot .main-svg').length > 0 &&
      globalThis.document.querySelectorAll('.js-plotly-plot').length >= expected,
    count,
  );
}

/** What `Plotly.validate` says of each figure that is drawn; empty where all is well. */
export async function validatePlots(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
    const { Plotly, document } = globalThis as any;
    return [...document.querySelectorAll('.js-plotly-plot')].flatMap(
      // biome-ignore lint/suspicious/noExplicitAny: a plotly element
      (element: any) =>
        // biome-ignore lint/suspicious/noExplicitAny: plotly's report
        (Plotly.validate(element.data, element.layout) ?? []).map((entry: any) => entry.msg),
    );
  });
}

/** Buttons that a figure may have; none of them sends anything anywhere. */
const BUTTONS = new Set([
  'Download as SVG',
  'Download as PNG',
  'Zoom',
  'Pan',
  'Box Select',
  'Lasso Select',
  'Zoom in',
  'Zoom out',
  'Autoscale',
  'Reset axes',
  'Reset view',
  'Toggle Spike Lines',
  'Show closest data on hover',
  'Compare data on hover',
]);

/** Titles of the buttons of all figures that a figure must not have, and of those that one of them lacks. */
export async function oddButtons(page: Page): Promise<string[]> {
  const bars = await page.evaluate(() =>
    [...globalThis.document.querySelectorAll('.js-plotly-plot')].map((figure) =>
      [...figure.querySelectorAll('.modebar-btn')].map((button) => button.getAttribute('data-title') ?? ''),
    ),
  );
  return bars.flatMap((titles) => [
    ...titles.filter((title) => !BUTTONS.has(title)),
    ...['Download as SVG', 'Download as PNG'].filter((title) => !titles.includes(title)),
  ]);
}

/**
 * Draws figures in a page and checks that each is valid plotly, with no error and no request.
 * `ZAYASCOPE_SCREENSHOTS` names a folder that gets a picture of the page, `name`.png.
 */
export async function expectDrawn(
  browser: Browser,
  name: string,
  figures: readonly Figure[],
  colorScheme: 'light' | 'dark' = 'light',
): Promise<void> {
  const opened = await openPage(browser, figurePage(name, figures), { colorScheme });
  await waitForPlots(opened.page, figures.length);
  expect(await validatePlots(opened.page)).toEqual([]);
  expect(await oddButtons(opened.page)).toEqual([]);
  expect(opened).toMatchObject({ errors: [], requests: [] });
  const folder = process.env.ZAYASCOPE_SCREENSHOTS;
  if (folder) await opened.page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  await opened.close();
}
