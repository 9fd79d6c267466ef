import { join } from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { createReport } from '../../src/report/report.js';
import { addTo, dumpWith } from '../diff/two-dumps.js';
import { TAPS } from '../dump/dump-fixture.js';
import { chromiumPath, describeWith } from '../system-package.js';
import { hostileReport } from './hostile-dumps.js';
import { launchChromium, openReport } from './report-browser.js';

const TINY = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');

/** A report of the tiny model's PyTorch runs in F32 and BF16. */
async function tinyReport(): Promise<string> {
  await using reference = await Dump.open(join(TINY, 'reference-float32'));
  await using tested = await Dump.open(join(TINY, 'reference-bfloat16'));
  return (await createReport(reference, tested, { failAbove: 1e-3, title: 'F32 against BF16' })).html;
}

/** Draws every plot of the page by bringing it into view. */
async function drawAll(page: Page): Promise<number> {
  const plots = page.locator('[data-figure]');
  const count = await plots.count();
  for (let k = 0; k < count; k++) {
    await plots.nth(k).scrollIntoViewIfNeeded();
    await plots.nth(k).locator('.main-svg').first().waitFor();
  }
  return count;
}

/** Clicks a point of a plot as a hand would: plotly listens on what lies above it. */
async function clickPoint(page: Page, point: Locator): Promise<void> {
  await point.scrollIntoViewIfNeeded();
  const box = (await point.boundingBox())!;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x - 3, y - 3);
  await page.mouse.move(x, y, { steps: 3 });
  await page.locator('.hoverlayer .hovertext').first().waitFor();
  await page.mouse.click(x, y);
}

/** Names in the first column of the table of taps. */
function shownTaps(page: Page): Promise<string[]> {
  return page.locator('#taps-table tbody button').allTextContents();
}

describeWith('Chromium', chromiumPath() !== undefined, 'a report in Chromium', () => {
  let browser: Browser;
  let html = '';
  beforeAll(async () => {
    browser = await launchChromium();
    html = await tinyReport();
  });
  afterAll(() => browser?.close());

  it.each(['light', 'dark'] as const)(
    'draws every plot without an error or a request (%s)',
    async (colorScheme) => {
      const { page, trouble } = await openReport(browser, html, { colorScheme });
      expect(await page.locator('h1').textContent()).toBe('F32 against BF16');
      expect(await page.locator('.verdict').textContent()).toMatch(
        /^FAIL\d+ of 372 taps are above energy NMSE 0.001;/,
      );
      expect(await drawAll(page)).toBe(6);
      const empty = await page
        .locator('[data-figure]')
        .evaluateAll(
          (hosts) =>
            hosts.filter(
              (host) =>
                host.querySelector('.points path, .heatmaplayer image, .hm image, .boxes path') === null,
            ).length,
        );
      expect(empty).toBe(0);
      expect(trouble).toEqual([]);
    },
  );

  it('opens the taps of a block that is clicked in a plot, and the tensors of a tap clicked in that', async () => {
    const { page, trouble } = await openReport(browser, html);
    const blocks = page.locator('[data-figure="0"]');
    await blocks.scrollIntoViewIfNeeded();
    // Points: input, then block 0, 1, 2 ...
    await blocks.locator('.scatterlayer .points path').first().waitFor();
    await clickPoint(page, blocks.locator('.scatterlayer .points path').nth(3));
    await page.getByRole('heading', { name: 'Taps of block 2' }).waitFor();
    expect(new Set((await shownTaps(page)).map((name) => name.split('.').slice(0, 2).join('.')))).toEqual(
      new Set(['layers.2']),
    );
    const points = page.locator('#block-plot .scatterlayer .points path');
    await points.first().waitFor();
    await clickPoint(page, points.nth(2));
    await page.locator('#tap-grids .heatmaplayer image, #tap-grids .hm image').first().waitFor();
    expect(await page.locator('#tap-title').textContent()).toMatch(/^layers\.2\./);
    expect(await page.locator('#tap-grids .hm').count()).toBe(3);
    expect(await page.locator('#tap-note').textContent()).toMatch(/^56 tokens × \d+ elements, /);
    expect(await page.locator('#tap-errors .bars path').count()).toBeGreaterThan(3);
    expect(trouble).toEqual([]);
  });

  it('sorts and filters the table of taps, with the keyboard too', async () => {
    const { page, trouble } = await openReport(browser, html);
    await page.locator('#taps-table input').fill('layers.3 router');
    const names = await shownTaps(page);
    expect(names.length).toBeGreaterThan(3);
    expect(names.every((name) => name.includes('layers.3') && name.includes('router'))).toBe(true);
    const header = page.locator('#taps-table th', { hasText: 'NMSE' }).first();
    await header.locator('button').focus();
    await page.keyboard.press('Enter');
    expect(await header.getAttribute('aria-sort')).toBe('descending');
    const errors = (await page.locator('#taps-table tbody tr td:nth-child(4)').allTextContents()).map(Number);
    expect(errors).toEqual([...errors].sort((a, b) => b - a));
    await page.locator('#taps-table tbody button').first().focus();
    await page.keyboard.press('Enter');
    await page.locator('#tap-grids .hm').first().waitFor();
    await page.getByRole('button', { name: 'Tap after' }).click();
    await page.locator('#taps-table input').fill('');
    await page.selectOption('#block-choice', 'output');
    expect(await shownTaps(page)).toEqual(['norm', 'lm_head']);
    await page.selectOption('#block-choice', '');
    await page.check('#differing-only');
    expect(await page.locator('#taps-table .count').textContent()).toMatch(/^3[0-6]\d of 372 rows$/);
    expect(trouble).toEqual([]);
  });

  it('opens at the tap that its address names', async () => {
    const { page } = await openReport(browser, html, { hash: '#tap=layers.1.self_attn%3Aattn_weights' });
    await page.locator('#tap-grids .hm').first().waitFor();
    expect(await page.locator('#tap-title').textContent()).toBe('layers.1.self_attn:attn_weights');
  });

  it('shows a tap that is the same on both sides', async () => {
    const reference = await dumpWith();
    const report = await createReport(reference, await dumpWith());
    const { page, trouble } = await openReport(browser, report.html, { hash: '#tap=lm_head' });
    await page.locator('#tap-values .scatterlayer path').first().waitFor();
    expect(await page.locator('#tap-errors').textContent()).toBe(
      'Errors: none; both sides are the same in every element sampled.',
    );
    expect(trouble).toEqual([]);
  });

  it('fits a narrow window', async () => {
    const { page } = await openReport(browser, html, { width: 390 });
    await drawAll(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });

  it('marks what is not finite in the heat maps', async () => {
    const reference = await dumpWith();
    const tested = await dumpWith({ change: addTo('lm_head', 8, Number.NaN) });
    const report = await createReport(reference, tested);
    const { page, trouble } = await openReport(browser, report.html, { hash: '#tap=lm_head' });
    await page.locator('#tap-grids .scatterlayer .points path').first().waitFor();
    expect(await page.locator('#tap-grids .scatterlayer .points path').count()).toBe(3);
    expect(await page.locator('#tap-errors').textContent()).toBe(
      'Errors: none that is finite; 1 of the elements sampled are not finite on one side.',
    );
    expect(trouble).toEqual([]);
  });

  it('shows a tap of nothing but NaN', async () => {
    const everywhere = Array.from({ length: 42 }, (_, element) => addTo('lm_head', element, Number.NaN));
    const tested = await dumpWith({
      change: (tap, value, index) =>
        everywhere.reduce((changed, change) => change(tap, changed, index), value),
    });
    const report = await createReport(await dumpWith(), tested);
    const { page, trouble } = await openReport(browser, report.html, { hash: '#tap=lm_head' });
    await page.locator('#tap-grids .scatterlayer .points path').first().waitFor();
    expect(await page.locator('#tap-grids .scatterlayer .points path').count()).toBe(3 * 42);
    expect(trouble).toEqual([]);
  });

  it('shows hostile dumps as the text they are', async () => {
    const { html: hostile, taps } = await hostileReport();
    const { page, trouble } = await openReport(browser, hostile);
    await drawAll(page);
    expect(await shownTaps(page)).toEqual(taps);
    for (let k = 0; k < taps.length; k++) {
      await page.locator('#taps-table tbody button').nth(k).click();
      await page.locator('#tap-grids .hm').first().waitFor();
      expect(await page.locator('#tap-title').textContent()).toBe(taps[k]);
      await page.locator('#tap-grids .nsewdrag').first().hover();
    }
    for (const label of await page.locator('#block-choice option').allTextContents())
      await page.selectOption('#block-choice', { label });
    await page.locator('details').evaluateAll((all) => {
      for (const each of all as HTMLDetailsElement[]) each.open = true;
    });
    const found = await page.evaluate(() => ({
      ran: 'hacked' in window,
      scripts: [...document.scripts].filter((script) => script.text.includes('hacked') && script.type === '')
        .length,
      elements: document.querySelectorAll(
        'img[src="x"], iframe, object, base, [onerror], [onload], [onmouseover], [href^="javascript:"], [*|href^="javascript:"], form',
      ).length,
    }));
    expect(found).toEqual({ ran: false, scripts: 0, elements: 0 });
    expect(trouble).toEqual([]);
  });

  it('lets no other script run, and nothing be loaded, even if something got into the page', async () => {
    const reference = await dumpWith({ manifest: { taps: TAPS.slice(0, 1) } });
    const { html: small } = await createReport(reference, reference);
    const planted = small.replace(
      '<main>',
      '<main><script>window.hacked = 1</script><img src="x" onerror="window.hacked = 2"><a id="planted" href="javascript:window.hacked=3">x</a>',
    );
    expect(planted).not.toBe(small);
    const { page } = await openReport(browser, planted);
    await page.click('#planted');
    const result = await page.evaluate(async () => ({
      loaded: await fetch('data:text/plain,x').then(
        () => true,
        () => false,
      ),
      ran: 'hacked' in window,
    }));
    expect(result).toEqual({ loaded: false, ran: false });
  });
});
