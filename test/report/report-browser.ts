/** Opens report pages in a real Chromium and watches what they do. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { onTestFinished } from 'vitest';
import { writeReport } from '../../src/report/write-report.js';
import { temporaryFolder } from '../dump/dump-fixture.js';
import { chromiumPath } from '../system-package.js';

/** A page and what went wrong in it so far. */
export interface OpenedReport {
  page: Page;
  /**
   * Console warnings and errors (broken security policy included), uncaught errors, dialogs, and requests
   * beyond the page's own.
   */
  trouble: string[];
  /**
   * Processor time of the page's main thread until it was open, in ms: unlike the clock, it does not depend
   * on what else the machine does.
   */
  threadMs: number;
}

/** Starts Chromium; the test that asks for it first waits for it. */
export function launchChromium(): Promise<Browser> {
  const executablePath = chromiumPath();
  return chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    args: ['--no-sandbox'],
  });
}

/**
 * Opens a report in a page of its own, which is closed when the test ends; resolves when its script has run.
 */
export async function openReport(
  browser: Browser,
  html: string,
  { hash = '', width = 1280, colorScheme = 'light' as 'light' | 'dark' } = {},
): Promise<OpenedReport> {
  const file = join(temporaryFolder(), 'report.html');
  await writeReport(file, html);
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const trouble: string[] = [];
  const url = pathToFileURL(file).href;
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) trouble.push(message.text());
  });
  page.on('pageerror', (error) => trouble.push(String(error)));
  page.on('dialog', (dialog) => {
    trouble.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url))
      trouble.push(`request: ${request.url()}`);
  });
  const devtools = await context.newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.goto(`${url}${hash}`);
  await page.waitForSelector('html[data-ready]', { state: 'attached' });
  const { metrics } = await devtools.send('Performance.getMetrics');
  const threadMs = 1000 * (metrics.find(({ name }) => name === 'ThreadTime')?.value ?? Number.NaN);
  return { page, trouble, threadMs };
}
