import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorBatch } from '../../src/dump/data-reader.js';
import { toFloat32 } from '../../src/dump/float.js';
import { Dump } from '../../src/dump/reader.js';
import { errorAgainstMagnitude } from '../../src/plot/error/error-scatter.js';
import type { Figure } from '../../src/plot/figure.js';
import { errorHistogram, ulpHistogram, valueHistogram } from '../../src/plot/tensor/histograms.js';
import { sliceTensor } from '../../src/plot/tensor/tensor-slice.js';
import { compareTensors, tensorView } from '../../src/plot/tensor/tensor-view.js';
import { expectDrawn, openBrowser } from '../browser.js';
import { root } from '../reference/python.js';
import { chromiumPath, describeWith } from '../system-package.js';

const TAP = 'layers.3.self_attn.o_proj';
const ROUTED = 'layers.3.self_attn:attn_weights';
let reference: TensorBatch;
let tested: TensorBatch;
let attention: TensorBatch;
beforeAll(async () => {
  const tiny = join(root, 'dumps', 'tiny');
  await using single = await Dump.open(join(tiny, 'reference-float32'));
  await using half = await Dump.open(join(tiny, 'reference-bfloat16'));
  [reference, tested, attention] = [await single.read(TAP), await half.read(TAP), await single.read(ROUTED)];
});

const counting = (...shape: number[]) => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => at),
});

describe('sliceTensor', () => {
  it('shows the last three axes, and one index of the rest', () => {
    const { axes, grids } = sliceTensor(counting(2, 3, 4, 5), { at: { 0: 1 } });
    expect(axes).toEqual({ rows: 2, columns: 3, facets: 1 });
    expect(grids).toHaveLength(3);
    expect(grids[2]!.cells[3]![4]).toBe(119);
    expect(grids[0]!.indices[1]![2]).toEqual([1, 0, 1, 2]);
  });

  it('shows other axes when asked, and vectors and scalars', () => {
    expect(sliceTensor(counting(3, 4), { rows: 1, columns: 0 }).grids[0]!.cells[2]).toEqual([2, 6, 10]);
    expect(sliceTensor(counting(4)).grids[0]!.cells).toEqual([[0, 1, 2, 3]]);
    expect(sliceTensor(counting()).grids[0]!.cells).toEqual([[0]]);
    expect(sliceTensor(counting(3, 4, 5), { facets: null }).axes.facets).toBe(-1);
  });

  it('pools by largest magnitude, with the index of what it shows, NaN before all', () => {
    const tensor = counting(4, 6);
    tensor.data[7] = -1000;
    tensor.data[22] = Number.NaN;
    const { grids, pooled, nonFinite } = sliceTensor(tensor, { maxCells: [2, 3] });
    expect(pooled).toEqual([2, 2]);
    expect(grids[0]!.cells).toEqual([
      [-1000, 9, 11],
      [19, 21, Number.NaN],
    ]);
    expect(grids[0]!.indices[0]![0]).toEqual([1, 1]);
    expect(nonFinite).toBe(1);
  });

  it.each([
    ['an axis too many', { rows: 2 }, /expected an axis of \[3, 4\], got 2/],
    ['an axis twice', { rows: 1, columns: 1 }, /expected three different axes/],
    ['an index beyond', { at: { 0: 3 }, rows: 1, columns: 1 }, /expected three different axes/],
    [
      'an index on a shown axis',
      { at: { 1: 0 } },
      /expected a position on an axis that is not shown, got axis 1/,
    ],
  ])('refuses %s', (_, options, message) => {
    expect(() => sliceTensor(counting(3, 4), options)).toThrow(message);
  });

  it('refuses an index beyond the axis, nothing, and a shape that does not fit', () => {
    expect(() => sliceTensor(counting(2, 3, 4, 5), { at: { 0: 2 } })).toThrow(
      /expected an index below 2 on axis 0, got 2/,
    );
    expect(() => sliceTensor(counting(0, 4))).toThrow(/expected a tensor with elements/);
    expect(() => sliceTensor({ shape: [3], data: [1, 2] })).toThrow(
      expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
    );
  });
});

describe('figures of a tensor', () => {
  it('tensorView draws every element with its index and value', () => {
    const [trace] = tensorView(reference).data;
    const z = trace!.z as number[][];
    expect([z.length, z[0]!.length]).toEqual(reference.shape);
    expect(z[5]![17]).toBe(reference.data[5 * reference.shape[1]! + 17]);
    expect((trace!.customdata as string[][][])[5]![17]).toEqual([TAP, '5, 17']);
    expect(tensorView(attention, { facets: 1, axisNames: ['token', 'head', 'key'] }).data).toHaveLength(8);
  });

  it('compareTensors draws the difference of widened values', () => {
    const { data } = compareTensors(reference, tested);
    const [a, b, difference] = data.map(({ z }) => z as number[][]);
    expect(difference![5]![17]).toBe(b![5]![17]! - a![5]![17]!);
    expect([data[0]!.zmin, data[0]!.zmax]).toEqual([data[1]!.zmin, data[1]!.zmax]);
    expect(() => compareTensors(counting(2, 3), counting(3, 2))).toThrow(/two tensors of one shape/);
  });

  it('names axes as the tap does', () => {
    const { layout } = tensorView(attention, { facets: 1 });
    expect(layout.xaxis).toMatchObject({ title: { text: 'cached position' } });
    expect(layout.yaxis).toMatchObject({ title: { text: 'token' } });
    expect(JSON.stringify(layout.annotations)).toContain('query head 7');
    const named = tensorView(reference, { axisNames: ['row', 'feature'] }).layout;
    expect(named.xaxis).toMatchObject({ title: { text: 'feature' } });
    const lead = { ...counting(1, 2, 5), tap: { name: 'lead', axes: ['leads', 'C'] } };
    expect(JSON.stringify(tensorView(lead).layout.annotations)).toContain('step 0');
  });

  it('places pooled cells over the elements they stand for', () => {
    const { data, layout } = tensorView(counting(6, 1024));
    expect(data[0]).toMatchObject({ x0: 1.5, dx: 4, y0: 0, dy: 1 });
    expect(layout.yaxis).toMatchObject({ range: [5.5, -0.5] });
    expect(JSON.stringify(layout.title)).toContain('a cell is the largest magnitude of 1 x 4 elements');
  });

  it('has ticks at indices of short axes, and none on an axis that is not there', () => {
    const { layout } = tensorView(counting(16));
    expect(layout.yaxis).toMatchObject({ showticklabels: false });
    expect(tensorView(counting(2, 16)).layout.yaxis).toMatchObject({ tick0: 0, dtick: 1 });
  });

  it.each([1, 8, 40])('gives each of %i lines of facets the same height', (count) => {
    const tensor = counting(count, 4, 4);
    const { layout } = compareTensors(tensor, tensor, { facets: 0, maxFacets: count });
    const axes = Array.from({ length: 3 * count }, (_, at) => layout[`yaxis${at === 0 ? '' : at + 1}`]);
    const { t, b } = layout.margin as { t: number; b: number };
    const inner = (layout.height as number) - t - b;
    for (const { domain } of axes as { domain: [number, number] }[]) {
      expect(domain[0]).toBeGreaterThanOrEqual(0);
      expect((domain[1] - domain[0]) * inner).toBeCloseTo(190, 6);
    }
    expect(JSON.stringify(layout.annotations)).toContain('(0 everywhere)');
  });

  it.each([
    ['maxFacets', () => tensorView(counting(2, 3, 4), { maxFacets: 0 })],
    ['maxCells[1]', () => tensorView(counting(3, 4), { maxCells: [2, Number.NaN] })],
    ['bins', () => errorHistogram(reference, tested, { bins: 0 })],
    ['limit', () => errorAgainstMagnitude(reference, tested, { limit: 0.5 })],
  ])('refuses %s below 1', (option, draw) => {
    expect(draw).toThrow(`expected ${option} to be 1 or more`);
  });

  it('errorAgainstMagnitude samples all columns of a tensor whose rows divide evenly', () => {
    const tensor = counting(64, 128);
    const other = { shape: tensor.shape, data: tensor.data.map((value) => value + 1) };
    tensor.data[0] = 1;
    other.data[0] = 2;
    const figure = errorAgainstMagnitude(tensor, other, { limit: 2048 });
    const places = (figure.data[0]!.customdata as [string, string][]).map(([, at]) => at.split(', ')[1]);
    expect(new Set(places).size).toBe(128);
    expect(JSON.stringify(figure.layout.title)).toContain('one in 5 of 8192 elements that differ');
  });

  it('ulpHistogram says how much it counted and what it left out', () => {
    const tensor = counting(300, 1000);
    const other = { shape: tensor.shape, data: tensor.data.slice() };
    other.data[5] = Number.NaN;
    const { text } = ulpHistogram(tensor, other).layout.title as { text: string };
    expect(text).toMatch(/\d+ of 299999 elements counted; 1 NaN or infinite left out/);
  });

  it('marks NaN and infinity', () => {
    const tensor = counting(3, 4);
    tensor.data[6] = Number.POSITIVE_INFINITY;
    const figure = tensorView(tensor);
    expect(figure.data).toHaveLength(2);
    expect(figure.data[1]!.customdata).toEqual([['tensor', '1, 2', 'Infinity']]);
    expect(JSON.stringify(figure.layout.title)).toContain('1 NaN or infinite, marked');
  });

  it('errorAgainstMagnitude keeps the worst element when it samples', () => {
    const { data } = errorAgainstMagnitude(reference, tested, { limit: 50 });
    const wide = toFloat32(tested.data, tested.dtype);
    const worst = (reference.data as Float32Array).reduce(
      (most, value, at) => Math.max(most, Math.abs(wide[at]! - value)),
      0,
    );
    expect(Math.max(...(data[0]!.y as number[]))).toBe(worst);
    expect((data[0]!.x as number[]).length).toBeLessThanOrEqual(52);
    expect(() => errorAgainstMagnitude(reference, reference)).toThrow(/a pair of elements that differ/);
  });

  it('histograms count every element once', () => {
    const total = (figure: Figure) =>
      (figure.data[0]!.y as (number | null)[]).reduce<number>((sum, count) => sum + (count ?? 0), 0);
    expect(total(valueHistogram([{ label: 'reference', tensor: reference }]))).toBe(reference.data.length);
    expect(total(errorHistogram(reference, tested))).toBe(reference.data.length);
    expect(total(ulpHistogram(reference, tested))).toBeCloseTo(100, 9);
    expect(() => valueHistogram([{ label: 'x', tensor: { shape: [1], data: [Number.NaN] } }])).toThrow(
      /a finite value/,
    );
  });
});

describeWith('Chromium', chromiumPath() !== undefined, 'in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it.each(['light', 'dark'] as const)(
    'tensor figures are valid plotly and draw offline, %s',
    async (colorScheme) => {
      const broken = counting(3, 4);
      broken.data[6] = Number.NaN;
      const figures = [
        tensorView(reference),
        tensorView(attention, { facets: 1 }),
        tensorView(broken),
        compareTensors(reference, tested),
        compareTensors(attention, attention, { facets: 1, maxFacets: 4 }),
        tensorView(counting(6, 1024)),
        errorAgainstMagnitude(reference, tested),
        valueHistogram([
          { label: 'reference', tensor: reference },
          { label: 'tested', tensor: tested },
        ]),
        errorHistogram(reference, tested),
        ulpHistogram(reference, tested),
      ];
      await expectDrawn(browser, `tensors-${colorScheme}`, figures, colorScheme);
    },
  );
});
