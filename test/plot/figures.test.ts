import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyLogits } from '../../src/diff/logits/verify-logits.js';
import { tapError } from '../../src/diff/report.js';
import type { AttributionReport } from '../../src/locate/bisect/attribution.js';
import { backendComparison } from '../../src/plot/error/backend-comparison.js';
import { metricByKind } from '../../src/plot/error/metric-by-kind.js';
import { nmsePerBlock } from '../../src/plot/error/nmse-per-block.js';
import { nmsePerTap } from '../../src/plot/error/nmse-per-tap.js';
import { tokenBlockHeatMap } from '../../src/plot/error/token-block-heat-map.js';
import { attributionWaterfall } from '../../src/plot/error/waterfall.js';
import type { Figure } from '../../src/plot/figure.js';
import { figurePage } from '../../src/plot/figure-html.js';
import { logitsTopK } from '../../src/plot/logits-top-k.js';
import { routingMap } from '../../src/plot/routing/routing-map.js';
import { quantisationCost } from '../../src/plot/weights/quantisation.js';
import { expectDrawn, openBrowser, openPage, waitForPlots } from '../browser.js';
import { chromiumPath, describeWith } from '../system-package.js';
import { floating, tapsOf, tinyDumps } from './tiny-dumps.js';

const dumps = tinyDumps();

const attribution = (rows: AttributionReport['rows']): AttributionReport => ({
  good: { policy: 'f32', error: 1e-13 },
  bad: { policy: 'llamacpp', error: 2e-7 },
  against: 'reference',
  by: 'op',
  rows,
  cost: { runs: 0 } as unknown as AttributionReport['cost'],
});

it('logitsTopK shows the ten likeliest of both sides', async () => {
  const check = await verifyLogits(dumps.reference.dir, dumps.tested.dir);
  const { data } = logitsTopK(check);
  const ids = new Set([...check.top!.reference, ...check.top!.tested].map(({ id }) => id));
  expect(data[0]!.x).toHaveLength(ids.size);
  const { reference: first, tested: second } = check.top!;
  expect((data[0]!.y as number[])[0]).toBe(first[0]!.logit);
  expect((data[2]!.y as number[])[0]).toBe(second[0]!.logit - first[0]!.logit);
  const onlyOne = [...ids].filter(
    (id) => !first.some((a) => a.id === id) || !second.some((b) => b.id === id),
  );
  expect((data[2]!.y as unknown[]).filter((value) => value === null)).toHaveLength(onlyOne.length);
});

it('quantisationCost sorts types by size, one row each, and tells zeros and unknown divergences', () => {
  const { data, layout } = quantisationCost([
    { type: 'q4_0', sizeBytes: 1e6, nmse: 0.1, kl: 0.05, top1: 0.5, flipped: 9, choices: 10 },
    { type: 'f32', sizeBytes: 8e6, nmse: 0 },
    { type: 'q8_0', sizeBytes: 2e6, nmse: 1e-3, kl: 5e-4 },
  ]);
  expect(data.map(({ y }) => y)).toEqual([
    ['f32', 'q8_0', 'q4_0'],
    ['f32', 'q8_0', 'q4_0'],
    ['q8_0', 'q4_0'],
  ]);
  expect(data[0]!.x).toEqual([8, 2, 1]);
  expect((data[1]!.x as number[]).slice(1)).toEqual([1e-3, 0.1]);
  expect(data[2]!.x).toEqual([5e-4, 0.05]);
  expect((data[1]!.hovertext as string[])[2]).toMatch(/q4_0.*1.00 MB.*experts flipped: 9 of 10/);
  expect(JSON.stringify(layout.title)).toContain('1 exact zero ');
});

describe('attributionWaterfall', () => {
  const rows = [
    { group: 'a', pattern: 'layers.*.a#dtype', sites: 1, alone: 3e-8, repaired: 1e-7, cumulative: 3e-8 },
    { group: 'b', pattern: 'layers.*.b#dtype', sites: 2, alone: 0, repaired: 2e-7, cumulative: 2e-8 },
    { group: 'c', pattern: 'layers.*.c#dtype', sites: 2, alone: 1e-7, repaired: 2e-8, cumulative: 2e-7 },
  ];

  it('steps from the good error to the bad one, down where a group lowers it', () => {
    const [steps] = attributionWaterfall(attribution(rows)).data;
    const x = steps!.x as number[];
    expect(x[0]).toBe(1e-13);
    expect(x[2]).toBeLessThan(0);
    expect(x.slice(0, -1).reduce((a, b) => a + b)).toBeCloseTo(2e-7, 12);
    expect(x.at(-1)).toBe(2e-7);
    expect(tapsOf(steps).slice(1, -1)).toEqual(rows.map(({ pattern }) => pattern));
  });

  it('shows each group alone and left out, zero and infinity told apart', () => {
    const broken = rows.map((row, at) => (at === 2 ? { ...row, repaired: Number.POSITIVE_INFINITY } : row));
    const { data, layout } = attributionWaterfall(attribution(broken));
    const [, alone, repaired] = data;
    expect(alone!.x).toEqual([3e-8, 1e-14, 1e-7]);
    expect((alone!.hovertext as string[])[1]).toContain('exactly 0');
    expect(repaired!.x).toEqual([1e-7, 2e-7, null]);
    expect(JSON.stringify(layout.title)).toMatch(/1 exact zero drawn at the low end, 1 NaN or infinite/);
  });
});

describe('backendComparison', () => {
  it('puts the same value of each device in one row, and a gap where one lacks it', () => {
    const { data, layout } = backendComparison(
      [
        {
          label: 'CPU',
          errors: [
            { name: 'add', nmse: 0 },
            { name: 'mulMat', nmse: 1e-14 },
          ],
        },
        { label: 'Vulkan0', errors: [{ name: 'mulMat', nmse: 1e-7, tap: 'layers.0.self_attn.o_proj' }] },
      ],
      { tolerance: 1e-10 },
    );
    expect(data.map(({ y }) => y)).toEqual([[0, 1], [1]]);
    expect(data.map(({ x }) => x)).toEqual([[1e-15, 1e-14], [1e-7]]);
    expect(tapsOf(data[1])).toEqual(['layers.0.self_attn.o_proj']);
    expect((layout.yaxis as { ticktext: string[] }).ticktext).toEqual(['add', 'mulMat']);
    expect(layout.shapes).toMatchObject([{ x0: 1e-10, x1: 1e-10 }]);
  });

  it('names as many of many values as there is room for', () => {
    const errors = floating(dumps.report).map(({ name }) => ({ name, nmse: 1e-3 }));
    const { layout } = backendComparison([{ label: 'CPU', errors }]);
    expect((layout.yaxis as { ticktext: string[] }).ticktext.length).toBeLessThan(70);
  });
});

it('quantisationCost, backendComparison and attributionWaterfall refuse nothing to draw', () => {
  expect(() => quantisationCost([])).toThrow(/got none/);
  expect(() => backendComparison([])).toThrow(/got none/);
  expect(() => attributionWaterfall(attribution([]))).toThrow(/got none/);
});

describeWith('Chromium', chromiumPath() !== undefined, 'in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it.each(['light', 'dark'] as const)(
    'all figures are valid plotly and draw offline, %s',
    async (colorScheme) => {
      const errors = floating(dumps.report).map((tap) => ({
        name: tap.name,
        tap: tap.name,
        nmse: tapError(tap)!,
      }));
      const figures: Figure[] = [
        nmsePerTap([{ label: '<b>BF16</b>', report: dumps.report }], { noise: dumps.report }),
        nmsePerBlock([{ label: 'BF16', report: dumps.report }]),
        metricByKind(dumps.report),
        await tokenBlockHeatMap(dumps.reference, dumps.tested, {
          tokenTexts: Array(56).fill('<script>alert(1)</script>'),
        }),
        await routingMap(dumps.reference, dumps.tested),
        logitsTopK(await verifyLogits(dumps.reference.dir, dumps.tested.dir)),
        quantisationCost([
          { type: 'q8_0', sizeBytes: 2.4e6, nmse: 1e-4, kl: 2e-4, top1: 0.98, flipped: 2, choices: 448 },
          { type: 'f32', sizeBytes: 8e6, nmse: 0 },
        ]),
        backendComparison([{ label: 'CPU', errors }], { tolerance: 1e-10 }),
        attributionWaterfall(
          attribution([
            { group: 'a', pattern: 'a#dtype', sites: 1, alone: 1e-8, repaired: 1e-7, cumulative: 1e-8 },
            { group: 'b', pattern: 'b#dtype', sites: 2, alone: 1e-7, repaired: 1e-8, cumulative: 2e-7 },
          ]),
        ),
      ];
      await expectDrawn(browser, `figures-${colorScheme}`, figures, colorScheme);
    },
  );

  it('a click copies the name of the tap below it: cell of a map, bar, point of a strip', async () => {
    const sites = [{ group: 'a', pattern: 'layers.*.a#dtype', sites: 1, repaired: 1e-8 }];
    const figures: Figure[] = [
      await routingMap(dumps.reference, dumps.tested),
      attributionWaterfall(attribution(sites.map((row) => ({ ...row, alone: 2e-7, cumulative: 2e-7 })))),
      metricByKind(dumps.report, { by: 'value', kinds: (kind) => kind === 'lm_head' }),
    ];
    const opened = await openPage(browser, figurePage('clicks', figures), { height: 2000 });
    const { page } = opened;
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await waitForPlots(page, figures.length);
    const taps = ['layers.5.mlp.gate:expert', 'layers.*.a#dtype', 'lm_head'];
    // Where in data coordinates; the waterfall's second row of three.
    const places = [
      [20, 5],
      [1e-7, 1],
      [Math.log10(tapError(dumps.report.tapReports.at(-1)!)!), 0],
    ];
    for (const [index, [x, y]] of places.entries()) {
      const at = await page.evaluate(
        ([figure, dataX, dataY]) => {
          // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
          const element = (globalThis as any).document.querySelectorAll('.js-plotly-plot')[figure!];
          const { xaxis, yaxis } = element._fullLayout;
          const box = element.getBoundingClientRect();
          return [
            box.left + xaxis._offset + xaxis.l2p(dataX),
            box.top + yaxis._offset + yaxis.l2p(dataY),
          ] as const;
        },
        [index, x!, y!],
      );
      const shown = async () => {
        await page.mouse.move(at[0] - 3, at[1]);
        await page.mouse.move(at[0], at[1]);
        await page.waitForTimeout(100);
        await page.mouse.click(at[0], at[1]);
        return await page.locator('output.zayascope-tap').nth(index).textContent();
      };
      await expect.poll(shown, { timeout: 10_000 }).toBe(`${taps[index]} (copied)`);
      expect(await page.evaluate('navigator.clipboard.readText()')).toBe(taps[index]);
    }
    await opened.close();
  });
});
