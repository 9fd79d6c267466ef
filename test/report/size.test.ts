import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { createReport } from '../../src/report/report.js';
import { chromiumPath, describeWith } from '../system-package.js';
import { largeDump } from './large-dumps.js';
import { launchChromium, openReport } from './report-browser.js';

const MAX_BYTES = 15e6;

let html = '';

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-report-'));
  try {
    await using reference = await largeDump(folder, 'reference', 0);
    await using tested = await largeDump(folder, 'tested', 1e-3);
    await using low = await largeDump(folder, 'low', 1e-2);
    const report = await createReport(reference, tested, { noiseFloor: low, failAbove: 1e-4 });
    expect(report.tensorTaps).toBe(report.diff.tapReports.length);
    expect(report.tensorTaps).toBeGreaterThanOrEqual(2400);
    html = report.html;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('stays below 15 MB for 40 blocks of 60 taps, each with its tensors', () => {
  const sizeBytes = Buffer.byteLength(html);
  console.log(`report of 40 x 60 taps: ${(sizeBytes / 1e6).toFixed(1)} MB`);
  expect(sizeBytes).toBeLessThan(MAX_BYTES);
  // Tensors that were left out would make it smaller.
  expect(sizeBytes).toBeGreaterThan(9e6);
});

describeWith('Chromium', chromiumPath() !== undefined, 'a report of 40 x 60 taps in Chromium', () => {
  it('opens, shows a tap, and says how long that took', async () => {
    await using browser = await launchChromium();
    const { page, trouble, threadMs } = await openReport(browser, html);
    const openMs = Number(await page.getAttribute('html', 'data-ready'));
    const started = performance.now();
    await page.locator('#taps-table tbody button').nth(20).click();
    await page.waitForSelector('#tap-grids .heatmaplayer');
    console.log(
      `report of 40 x 60 taps: opened in ${openMs} ms (${Math.round(threadMs)} ms of its thread), a tap shown in ${Math.round(performance.now() - started)} ms`,
    );
    expect([openMs, threadMs].every((ms) => ms > 0)).toBe(true);
    expect(trouble).toEqual([]);
  });
});
