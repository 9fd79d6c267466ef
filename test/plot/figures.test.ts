import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { type DiffReport, type FloatTapReport, tapError } from '../../src/diff/report.js';
import { verifyLogits } from '../../src/diff/verify-logits.js';
import { toFloat64 } from '../../src/dump/float.js';
import type { TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import type { AttributionReport } from '../../src/locate/attribution.js';
import { locateDumps } from '../../src/locate/locate-dumps.js';
import { backendComparison } from '../../src/plot/backend-comparison.js';
import type { Figure, Trace } from '../../src/plot/figure.js';
import { figurePage } from '../../src/plot/figure-html.js';
import { logitsTopK } from '../../src/plot/logits-top-k.js';
import { metricByKind } from '../../src/plot/metric-by-kind.js';
import { nmsePerBlock } from '../../src/plot/nmse-per-block.js';
import { nmsePerTap } from '../../src/plot/nmse-per-tap.js';
import { quantisationCost } from '../../src/plot/quantisation.js';
import { routingMap } from '../../src/plot/routing-map.js';
import { tokenBlockHeatMap } from '../../src/plot/token-block-heat-map.js';
import { attributionWaterfall } from '../../src/plot/waterfall.js';
import { openBrowser, openPage, validatePlots, waitForPlots } from '../browser.js';
import { addTo, dumpWith } from '../diff/two-dumps.js';
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
  it('has a point for every value, at its error, with its name; exact zeros at the bottom', () => {
    const { data, layout } = nmsePerTap([{ label: 'BF16', report }]);
    const erring = floating().filter((tap) => tapError(tap) !== 0);
    const zeros = floating().filter((tap) => tapError(tap) === 0);
    expect(zeros.length).toBeGreaterThan(0);
    expect(tapsOf(data[0])).toEqual(erring.map(({ name }) => name));
    expect(data[0]!.y).toEqual(erring.map(tapError));
    expect(tapsOf(data[1])).toEqual(zeros.map(({ name }) => name));
    expect(Math.max(...(data[1]!.y as number[]))).toBeLessThan(
      Math.min(...erring.map((tap) => tapError(tap)!)),
    );
    expect((data[1]!.hovertext as string[])[0]).toContain('energy NMSE exactly 0');
    expect(JSON.stringify(layout.title)).toContain(`${zeros.length} exact zeros at the bottom`);
    expect((layout.xaxis as { ticktext: string[] }).ticktext).toEqual([
      '0',
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
      '7',
    ]);
  });

  it('joins runs by name, draws the noise floor under them, and what an op errs by itself', async () => {
    const locate = await locateDumps(reference, tested, join(tiny, 'model'));
    const later = { ...report, tapReports: report.tapReports.slice(2) };
    const { data } = nmsePerTap(
      [
        { label: 'one', report: later, locate },
        { label: 'two', report },
      ],
      { noise: report },
    );
    const named = (name: string) => data.filter((trace) => trace.name === name);
    expect(data[1]!.fill).toBe('tonexty');
    const erring = floating().filter((tap) => tapError(tap) !== 0);
    expect(data[1]!.y).toEqual(erring.map(tapError));
    const [one] = named('one');
    const [two] = named('two');
    const placeIn = (trace: Trace, tap: string) => (trace.x as number[])[tapsOf(trace).indexOf(tap)];
    for (const tap of ['layers.0.input_layernorm', 'layers.5', 'lm_head'])
      expect(placeIn(one!, tap)).toBe(placeIn(two!, tap));
    const ops = locate.ops.filter(({ tap, local }) => local !== null && !tap.endsWith(':expert'));
    const own = named('one: each op by itself').flatMap((trace) => tapsOf(trace));
    expect(own.sort()).toEqual(
      ops
        .map(({ tap }) => tap)
        .filter((tap) => later.tapReports.some(({ name }) => name === tap))
        .sort(),
    );
  });

  it('draws what locate found without a diff, and marks the ops at fault', async () => {
    const locate = await locateDumps(reference, tested, join(tiny, 'model'));
    const faulty = locate.ops.find(({ tap }) => tap === 'layers.2.self_attn.o_proj')!;
    const ops = locate.ops.map((op) =>
      op === faulty ? { ...op, local: 1e-3, verdict: 'fault' as const } : op,
    );
    const { data } = nmsePerTap([{ label: 'BF16', locate: { ...locate, ops } }]);
    const marked = data.find(({ name }) => String(name).endsWith('at fault'))!;
    expect(tapsOf(marked)).toContain('layers.2.self_attn.o_proj');
    expect(tapsOf(marked)).toHaveLength(
      ops.filter(({ verdict, local }) => verdict === 'fault' && local! > 0).length,
    );
    expect((data[0]!.y as number[])[tapsOf(data[0]).indexOf('lm_head')]).toBe(
      locate.ops.find(({ tap }) => tap === 'lm_head')!.cumulative,
    );
  });

  it('is refused without a value to draw', () => {
    expect(() => nmsePerTap([])).toThrow(/nmsePerTap: expected a run with floating taps, got none/);
    expect(() => nmsePerTap([{ label: 'x', report: { ...report, tapReports: [] } }])).toThrow(/got none/);
  });

  it('marks NaN and infinity at the top, and says so', () => {
    const tapReports = structuredClone(report.tapReports);
    const broken = tapReports.filter((tap) => tap.kind === 'float').slice(4, 7);
    for (const tap of broken) tap.metrics.nmse = Number.NaN;
    broken[0]!.metrics.nmse = Number.POSITIVE_INFINITY;
    const { data, layout } = nmsePerTap([{ label: 'x', report: { ...report, tapReports } }]);
    expect(JSON.stringify(layout.title)).toContain('3 NaN or infinite at the top');
    const marked = data.at(-1)!;
    expect(tapsOf(marked)).toEqual(broken.map(({ name }) => name));
    const largest = (data[0]!.y as number[]).reduce((a, b) => Math.max(a, b));
    for (const y of marked.y as number[]) expect(y).toBeGreaterThan(largest);
    expect((marked.hovertext as string[])[0]).toContain('Infinity');
    expect(tapsOf(data[0])).not.toContain(broken[1]!.name);
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

describe('metricByKind', () => {
  const pointsOf = (figure: Figure) =>
    figure.data.flatMap((trace) =>
      tapsOf(trace).map((tap, at) => ({
        tap,
        error: (trace.x as number[])[at]!,
        kind: (trace.y as string[])[at]!,
        hover: (trace.hovertext as string[])[at]!,
      })),
    );

  it('has every value, at its error, in the row of its module', () => {
    const points = pointsOf(metricByKind(report));
    expect(points).toHaveLength(floating().length);
    const worst = points.reduce((a, b) => (b.error > a.error ? b : a));
    const expected = floating().reduce((a, b) => (tapError(b)! > tapError(a)! ? b : a));
    expect(worst).toMatchObject({ tap: expected.name, error: tapError(expected), kind: 'mlp.experts' });
    expect(points.find(({ tap }) => tap === 'layers.3')!.kind).toBe('block output');
    expect(points.find(({ tap }) => tap === 'layers.3.mlp.gate:margin')!.kind).toBe('mlp.gate');
  });

  it('keeps exact zeros out of the boxes, and says that they are', () => {
    const figure = metricByKind(report);
    const zeros = floating().filter((tap) => tapError(tap) === 0);
    expect(zeros.length).toBeGreaterThan(0);
    expect(tapsOf(figure.data[1])).toEqual(zeros.map(({ name }) => name));
    expect(figure.data[1]!.hovertext).toEqual(zeros.map(() => expect.stringContaining('exactly 0')));
    expect(JSON.stringify(figure.layout.title)).toContain(`${zeros.length} exact zeros`);
  });

  it('draws another metric, by value, of the kinds that are asked for', () => {
    const figure = metricByKind(report, {
      metric: 'maxAbs',
      by: 'value',
      kinds: (kind) => kind.startsWith('mlp.gate:'),
    });
    const points = pointsOf(figure);
    const expected = floating().filter(({ name }) => name.includes('.mlp.gate:'));
    expect(points).toHaveLength(expected.length);
    const margin = expected.find(({ name }) => name === 'layers.2.mlp.gate:margin') as FloatTapReport;
    expect(points.find(({ tap }) => tap === margin.name)).toMatchObject({
      kind: 'mlp.gate:margin',
      error: margin.metrics.maxAbs,
    });
    expect(() => metricByKind(report, { kinds: () => false })).toThrow(/got none/);
  });

  it('counts what is infinite, and draws the rest', () => {
    const tapReports = structuredClone(report.tapReports);
    const broken = tapReports.find((tap) => tap.kind === 'float')!;
    broken.metrics.nmse = Number.POSITIVE_INFINITY;
    const figure = metricByKind({ ...report, tapReports });
    expect(JSON.stringify(figure.layout.title)).toContain('1 NaN or infinite not drawn');
    expect(pointsOf(figure).find(({ tap }) => tap === broken.name)).toMatchObject({
      error: null,
      hover: expect.stringContaining('Infinity'),
    });
  });
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
    expect((data[0]!.customdata as string[][])[3]![0]).toBe('layers.3.self_attn.o_proj');
    await expect(tokenBlockHeatMap(reference, tested, { kind: '.nothing' })).rejects.toThrow(
      /expected two dumps that hold layers.\*.nothing, got none/,
    );
    await expect(tokenBlockHeatMap(reference, tested, { sequence: 3 })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('has the energy NMSE of each row in its cell', async () => {
    const { data } = await tokenBlockHeatMap(reference, tested);
    const [a, b] = [await reference.read('layers.4'), await tested.read('layers.4')];
    const row = (batch: typeof a) => toFloat64(batch.data, batch.dtype).slice(17 * 128, 18 * 128);
    const [right, other] = [row(a), row(b)];
    const energy = (values: Float64Array) => values.reduce((sum, value) => sum + value * value, 0);
    const nmse = energy(right.map((value, k) => value - other[k]!)) / energy(right);
    expect((data[0]!.z as number[][])[4]![17]).toBeCloseTo(Math.log10(nmse), 9);
  });

  it('tells zero, infinite and missing cells apart', async () => {
    const taps = [0, 1].map((block): TapSpec => {
      return { name: `layers.${block}`, block, dtype: 'F32', scope: 'token', axes: ['T', 'H'], shape: [3] };
    });
    const whole = await dumpWith({ manifest: { taps } });
    const change = addTo('layers.1', 4, Number.POSITIVE_INFINITY);
    const broken = await dumpWith({ manifest: { taps }, steps: [[0, 5]], change });
    const { data, layout } = await tokenBlockHeatMap(whole, broken);
    expect(data[0]!.x).toEqual([0, 1, 2, 3, 4]);
    expect((data[0]!.z as unknown[][])[1]!.map((value) => value === null)).toEqual([
      false,
      true,
      false,
      false,
      false,
    ]);
    expect((data[0]!.hovertext as string[][])[0]![0]).toContain('exactly 0');
    expect(data[1]).toMatchObject({ x: [1], y: ['1'], customdata: ['layers.1'] });
    expect(JSON.stringify(layout.title)).toContain('9 exact zeros drawn darkest; 1 NaN or infinite marked');
  });
});

describe('routingMap', () => {
  it('marks exactly the flips that the diff lists, with margins, and shows every choice', async () => {
    const { data } = await routingMap(reference, tested);
    const { flips } = report.routing!;
    expect(flips.length).toBeGreaterThan(0);
    const places = flips.map(({ block, position }) => [`layers.${block}.mlp.gate:expert`, position]);
    expect(tapsOf(data[1]).map((tap, at) => [tap, (data[1]!.x as number[])[at]])).toEqual(places);
    const [flip] = flips;
    const hover = (data[1]!.hovertext as string[])[0]!;
    expect(hover).toContain(`became ${flip!.tested === 8 ? 'the skip class' : `expert ${flip!.tested}`}`);
    expect(hover).toContain(`margin ${flip!.margin!.toExponential(1)}`);
    const expert = await reference.read('layers.6.mlp.gate:expert');
    expect((data[0]!.z as number[][])[6]).toEqual(Array.from(expert.data));
    expect((await routingMap(reference)).data).toHaveLength(1);
  });

  it('reads margins of any dtype, and refuses a sequence that is not there', async () => {
    const common = { block: 0, scope: 'token', axes: ['T'], shape: [] } as const;
    const taps: TapSpec[] = [
      { ...common, name: 'layers.0.mlp.gate:expert', dtype: 'I32' },
      { ...common, name: 'layers.0.mlp.gate:margin', dtype: 'BF16' },
    ];
    const half = new Uint16Array(6).fill(0x3f00);
    const dump = await dumpWith({
      manifest: { taps },
      change: (tap, value) =>
        tap.dtype === 'BF16' ? { ...value, bytes: new Uint8Array(half.buffer) } : value,
    });
    const { data } = await routingMap(dump);
    expect((data[0]!.hovertext as string[][])[0]![2]).toContain('margin 5.0e-1');
    await expect(routingMap(dump, undefined, { sequence: 1 })).rejects.toThrow(
      /routingMap: expected rows of sequence 1 \(layers.0.mlp.gate:expert\), got none/,
    );
  });
});

it('logitsTopK shows the ten likeliest of both sides', async () => {
  const check = await verifyLogits(reference.dir, tested.dir);
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
    const errors = floating().map(({ name }) => ({ name, nmse: 1e-3 }));
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
