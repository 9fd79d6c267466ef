import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { type DiffReport, tapError } from '../../src/diff/report.js';
import { verifyLogits } from '../../src/diff/verify-logits.js';
import { Dump } from '../../src/dump/reader.js';
import type { AttributionReport } from '../../src/locate/attribution.js';
import { locateDumps } from '../../src/locate/locate-dumps.js';
import { backendComparison } from '../../src/plot/backend-comparison.js';
import type { Figure, Trace } from '../../src/plot/figure.js';
import { figurePage } from '../../src/plot/figure-html.js';
import { logitsTopK } from '../../src/plot/logits-top-k.js';
import { metricByKind } from '../../src/plot/metric-by-kind.js';
import { nmsePerBlock, nmsePerTap } from '../../src/plot/nmse-per-tap.js';
import { quantisationCost } from '../../src/plot/quantisation.js';
import { routingMap } from '../../src/plot/routing-map.js';
import { tokenBlockHeatMap } from '../../src/plot/token-block-heat-map.js';
import { attributionWaterfall } from '../../src/plot/waterfall.js';
import { openBrowser, openPage, validatePlots, waitForPlots } from '../browser.js';
import { root } from '../reference/python.js';
import { chromiumPath, describeWith } from '../system-package.js';

const tiny = join(root, 'dumps', 'tiny');
let reference: Dump;
let tested: Dump;
let report: DiffReport;
beforeAll(async () => {
  reference = await Dump.open(join(tiny, 'reference-float32'));
  tested = await Dump.open(join(tiny, 'reference-bfloat16'));
  report = await diffDumps(reference, tested);
});
afterAll(async () => {
  await reference.close();
  await tested.close();
});

const tapsOf = (trace: Trace | undefined) =>
  (trace!.customdata as unknown[][]).map((entry) => (Array.isArray(entry) ? entry[0] : entry));
const floating = () => report.tapReports.filter((tap) => tapError(tap) !== null);
const attribution = (rows: AttributionReport['rows']): AttributionReport => ({
  good: { policy: 'f32', error: 1e-13 },
  bad: { policy: 'llamacpp', error: 2e-7 },
  against: 'reference',
  by: 'op',
  rows,
  cost: { runs: 0 } as unknown as AttributionReport['cost'],
});

describe('nmsePerTap', () => {
  it('has a point for every value that errs, at its error, with its name, and counts exact zeros', () => {
    const figure = nmsePerTap([{ label: 'BF16', report }]);
    const [trace] = figure.data;
    const erring = floating().filter((tap) => tapError(tap) !== 0);
    expect(tapsOf(trace)).toEqual(erring.map(({ name }) => name));
    expect(trace!.y).toEqual(erring.map(tapError));
    const zeros = floating().length - erring.length;
    expect(JSON.stringify(figure.layout.title)).toContain(
      zeros === 0 ? 'execution order' : `${zeros} exact zeros left out`,
    );
  });

  it('joins runs by name, draws the noise floor under them, and what an op errs by itself', async () => {
    const locate = await locateDumps(reference, tested, join(tiny, 'model'));
    const figure = nmsePerTap(
      [
        { label: 'one', report, locate },
        { label: 'two', report },
      ],
      { noise: report },
    );
    expect(figure.data.map(({ name }) => name)).toEqual([
      undefined,
      'noise floor',
      'one',
      'one: of the op itself',
      'two',
    ]);
    expect(figure.data[2]!.x).toEqual(figure.data[4]!.x);
  });

  it('is refused without a value to draw', () => {
    expect(() => nmsePerTap([])).toThrow(/nmsePerTap: expected a run with floating taps, got none/);
    expect(() => nmsePerTap([{ label: 'x', report: { ...report, tapReports: [] } }])).toThrow(/got none/);
  });

  it('leaves NaN out and says so', () => {
    const tapReports = structuredClone(report.tapReports);
    const broken = tapReports.filter((tap) => tap.kind === 'float').slice(0, 3);
    for (const tap of broken) tap.metrics.nmse = Number.NaN;
    const figure = nmsePerTap([{ label: 'x', report: { ...report, tapReports } }]);
    expect(JSON.stringify(figure.layout.title)).toContain('3 NaN or infinite not drawn');
    expect((figure.data[0]!.y as unknown[]).filter((value) => value === null)).toHaveLength(3);
  });
});

describe('nmsePerBlock', () => {
  it.each(['last', 'worst'] as const)('draws the %s error of each block, as the diff has it', (error) => {
    const [trace] = nmsePerBlock([{ label: 'BF16', report }], { error }).data;
    const expected = report.blocks.flatMap((block) => block[error] ?? []);
    expect(tapsOf(trace)).toEqual(expected.map(({ tap }) => tap));
    expect((trace!.y as number[]).filter((value) => value > 1e-10)).toEqual(
      expected.map(({ nmse }) => nmse).filter((nmse) => nmse > 1e-10),
    );
  });
});

it('metricByKind has every block of every kind, the worst where the diff has it', () => {
  const { data } = metricByKind(report);
  const points = data.flatMap((trace) =>
    tapsOf(trace).map((tap, at) => ({ tap, y: (trace.y as number[])[at]! })),
  );
  expect(points).toHaveLength(floating().filter(({ block }) => block !== null).length);
  const worst = points.reduce((a, b) => (b.y > a.y ? b : a));
  const expected = floating()
    .filter(({ block }) => block !== null)
    .reduce((a, b) => (tapError(b)! > tapError(a)! ? b : a));
  expect(worst.tap).toBe(expected.name);
});

describe('tokenBlockHeatMap', () => {
  it('is worst at the token and block where the diff has flips, and covers all tokens', async () => {
    const { data } = await tokenBlockHeatMap(reference, tested);
    const z = data[0]!.z as number[][];
    expect([z.length, z[0]!.length]).toEqual([8, 56]);
    const flipped = report.routing!.flips.filter(({ block }) => block === 0).map(({ position }) => position);
    expect(flipped).toContain(z[0]!.indexOf(Math.max(...z[0]!)));
  });

  it('draws one kind of value, and refuses one that is not held', async () => {
    const { data } = await tokenBlockHeatMap(reference, tested, { kind: '.self_attn.o_proj' });
    expect((data[0]!.customdata as string[][][])[3]![0]![0]).toBe('layers.3.self_attn.o_proj');
    await expect(tokenBlockHeatMap(reference, tested, { kind: '.nothing' })).rejects.toThrow(
      /expected two dumps that hold layers.\*.nothing, got none/,
    );
  });
});

it('routingMap marks exactly the flips that the diff lists', async () => {
  const { data } = await routingMap(reference, tested);
  const flips = report.routing!.flips.map(({ block, position }) => [
    `layers.${block}.mlp.gate:expert`,
    position,
  ]);
  expect(tapsOf(data[1]).map((tap, at) => [tap, (data[1]!.x as number[])[at]])).toEqual(flips);
  expect((await routingMap(reference)).data).toHaveLength(1);
});

it('logitsTopK shows the ten likeliest of both sides', async () => {
  const check = await verifyLogits(reference.dir, tested.dir);
  const { data } = logitsTopK(check);
  const ids = new Set([...check.top!.reference, ...check.top!.tested].map(({ id }) => id));
  expect(data[0]!.x).toHaveLength(ids.size);
  expect((data[0]!.y as number[])[0]).toBe(check.top!.reference[0]!.logit);
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
      const errors = floating().map((tap) => ({ name: tap.name, tap: tap.name, nmse: tapError(tap)! }));
      const figures: Figure[] = [
        nmsePerTap([{ label: '<b>BF16</b>', report }], { noise: report }),
        nmsePerBlock([{ label: 'BF16', report }]),
        metricByKind(report),
        await tokenBlockHeatMap(reference, tested, {
          tokenTexts: Array(56).fill('<script>alert(1)</script>'),
        }),
        await routingMap(reference, tested),
        logitsTopK(await verifyLogits(reference.dir, tested.dir)),
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
      const opened = await openPage(browser, figurePage('figures', figures), { colorScheme });
      await waitForPlots(opened.page, figures.length);
      expect(await validatePlots(opened.page)).toEqual([]);
      expect(opened).toMatchObject({ errors: [], requests: [] });
      await opened.close();
    },
  );
});
