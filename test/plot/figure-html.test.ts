import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countNonFinite, type Figure, figureJson, plainNumbers, scriptJson } from '../../src/plot/figure.js';
import { escapeHtml, figureHtml, figurePage } from '../../src/plot/figure-html.js';
import { DARK, LIGHT } from '../../src/plot/theme.js';
import { openBrowser, openPage, validatePlots, waitForPlots } from '../browser.js';
import { chromiumPath, describeWith } from '../system-package.js';

const figure = (over: Partial<Figure> = {}): Figure => ({
  name: 'test',
  title: 'Error per block',
  description: 'Three points',
  data: [
    {
      type: 'scatter',
      mode: 'markers',
      x: [0, 1, 2],
      y: [1, 2, 3],
      marker: { size: 20 },
      customdata: ['layers.0', 'layers.1', 'layers.2'],
    },
  ],
  layout: { xaxis: { title: { text: 'block' } }, yaxis: { title: { text: 'energy NMSE' } } },
  ...over,
});

describe('figure data', () => {
  it('holds numbers that JSON can hold', () => {
    expect(plainNumbers(new Float32Array([1, Number.NaN, -Infinity]))).toEqual([1, null, null]);
    expect(countNonFinite([1, Number.NaN, Infinity])).toBe(2);
    expect(
      JSON.parse(figureJson(figure({ data: [{ type: 'scatter', y: new Float64Array([1, Number.NaN]) }] })))
        .data[0].y,
    ).toEqual([1, null]);
  });

  it('cannot leave the script that holds it', () => {
    const hostile = '</script><script>alert(1)</script><!--\u2028&';
    const text = scriptJson({ hostile });
    expect(text).not.toMatch(/[<>&\u2028]/);
    expect(JSON.parse(text)).toEqual({ hostile });
    expect(figureHtml(figure({ title: '"><img src=x onerror=alert(1)>' }), 'a')).not.toContain('<img');
    expect(escapeHtml(`<a b="c" d='e'>&`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;');
  });

  it('is refused where it is empty', () => {
    expect(() => figureJson(figure({ data: [] }))).toThrow(/expected at least one trace, got none \(test\)/);
  });
});

describeWith('Chromium', chromiumPath() !== undefined, 'a figure in a page', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it.each(['light', 'dark'] as const)(
    'is drawn in the %s theme, offline and without an error',
    async (colorScheme) => {
      const opened = await openPage(browser, figurePage('a <title>', [figure(), figure()]), { colorScheme });
      const { page } = opened;
      await waitForPlots(page, 2);
      const expected = colorScheme === 'dark' ? DARK : LIGHT;
      const paper = () => page.evaluate('document.querySelector(".js-plotly-plot").layout.paper_bgcolor');
      expect(await paper()).toBe(expected.paper);
      expect(await validatePlots(page)).toEqual([]);
      await page.emulateMedia({ colorScheme: colorScheme === 'dark' ? 'light' : 'dark' });
      await expect.poll(paper).toBe(colorScheme === 'dark' ? LIGHT.paper : DARK.paper);
      expect(opened).toMatchObject({ errors: [], requests: [] });
      await opened.close();
    },
  );

  it('tells the tap of a point that is clicked', async () => {
    const opened = await openPage(browser, figurePage('taps', [figure()]));
    const { page } = opened;
    await waitForPlots(page, 1);
    // Points lie below plotly's drag layer, which finds them by where the pointer has rested: what a person
    // hits is a place.
    const box = (await page.locator('.js-plotly-plot .point').nth(1).boundingBox())!;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const shown = async () => {
      await page.mouse.move(x - 30, y);
      await page.mouse.move(x, y);
      await page.waitForTimeout(100);
      await page.mouse.click(x, y);
      return await page.locator('output.zayascope-tap').textContent();
    };
    await expect.poll(shown, { timeout: 10_000 }).toMatch(/^layers\.1( \(copied\))?$/);
    await opened.close();
  });
});
