import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tokenBlockHeatMap } from '../../src/plot/error/token-block-heat-map.js';
import { figurePage } from '../../src/plot/figure-html.js';
import { routingMap } from '../../src/plot/routing/routing-map.js';
import { openBrowser, openPage, waitForPlots } from '../browser.js';
import { chromiumPath, describeWith } from '../system-package.js';
import { tinyDumps } from './tiny-dumps.js';

/** A figure as plotly has laid it out, in pixels. */
interface LaidOut {
  left: number;
  column: number;
  /** Marks: their columns, and where they are drawn. */
  marks: { column: number; x: number }[];
}

const dumps = tinyDumps();

describeWith('Chromium', chromiumPath() !== undefined, 'maps by token and block', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(() => browser?.close());

  it('have their columns at the same pixels, with marks or without, and marks in their columns', async () => {
    const { reference, tested } = dumps;
    const tokenTexts = Array.from({ length: 56 }, (_, at) => `t${at}`);
    const figures = [
      await routingMap(reference, tested, { tokenTexts }),
      await tokenBlockHeatMap(reference, tested, { tokenTexts }),
      await tokenBlockHeatMap(reference, tested, { kind: '.mlp.experts', tokenTexts }),
      await routingMap(reference, undefined, { tokenTexts }),
    ];
    const { page, close } = await openPage(browser, figurePage('maps', figures));
    await waitForPlots(page, figures.length);
    const laidOut = await page.evaluate((): LaidOut[] => {
      // biome-ignore lint/suspicious/noExplicitAny: plotly's element
      const plots = [...globalThis.document.querySelectorAll('.js-plotly-plot')] as any[];
      return plots.map((plot) => {
        const { xaxis } = plot._fullLayout;
        const left = plot.getBoundingClientRect().left + xaxis._offset;
        // biome-ignore lint/suspicious/noExplicitAny: plotly's trace
        const columns = plot.data.slice(1).flatMap((trace: any) => trace.x as number[]);
        const drawn = [...plot.querySelectorAll('.scatterlayer .points path')].map((path) => {
          const box = (path as SVGGraphicsElement).getBoundingClientRect();
          return box.left + box.width / 2;
        });
        return {
          left,
          column: xaxis._length / (xaxis.range[1] - xaxis.range[0]),
          marks: columns.map((column: number, at: number) => ({ column, x: drawn[at]! })),
        };
      });
    });
    const [first] = laidOut;
    for (const { left, column, marks } of laidOut) {
      expect(left).toBeCloseTo(first!.left, 6);
      expect(column).toBeCloseTo(first!.column, 6);
      for (const mark of marks)
        expect(Math.abs(mark.x - (left + (mark.column + 0.5) * column))).toBeLessThan(1);
    }
    expect(laidOut.map(({ marks }) => marks.length > 0)).toEqual([true, false, true, false]);
    await close();
  });
});
