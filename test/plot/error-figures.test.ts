import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Dump,
  diffDumps,
  errorBars,
  errorLines,
  type FloatTapReport,
  nmseRatio,
  routingMargins,
} from '../../src/index.js';
import { nodeErrors } from '../../src/plot/error/node-errors.js';
import type { JudgedNode, RecordingVerdict } from '../../src/recording/locate/locate.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
let reference: Dump;
let tested: Dump;
beforeAll(async () => {
  reference = await Dump.open(join(tiny, 'reference-float32'));
  tested = await Dump.open(join(tiny, 'reference-bfloat16'));
});
afterAll(() => Promise.all([reference.close(), tested.close()]));

const errors = [
  { tap: 'layers.0', label: 'a', error: 1e-3 },
  { tap: 'layers.1', label: 'b', error: 0 },
];

describe('errorLines', () => {
  it('draws a line a series over blocks, zeros marked', () => {
    const figure = errorLines([{ label: 'run', errors }], { title: 'T' });
    expect(figure.data[0]).toMatchObject({
      x: [0, 1],
      y: [1e-3, expect.closeTo(1e-4, 12)],
      customdata: [
        ['layers.0', '1.0e-3'],
        ['layers.1', 'exactly 0'],
      ],
    });
    expect(figure.layout.title).toMatchObject({ text: expect.stringContaining('1 exact zero') });
  });

  it('draws the errors themselves on a linear axis', () => {
    const figure = errorLines([{ label: 'run', errors }], { title: 'T', scale: 'linear' });
    expect(figure.data[0]!.y).toEqual([1e-3, 0]);
    expect(figure.layout.yaxis).not.toMatchObject({ type: 'log' });
  });

  it('refuses nothing', () => {
    expect(() => errorLines([], { title: 'T' })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});

describe('errorBars', () => {
  it('draws dots by label on a logarithmic axis, where a bar has no base', () => {
    const more = [{ tap: 'layers.1', label: 'b', error: 1e-9 }];
    const figure = errorBars(
      [
        { label: 'one', errors },
        { label: 'other', errors: more },
      ],
      { title: 'T' },
    );
    expect(figure.data.map(({ x }) => x)).toEqual([['a', 'b'], ['b']]);
    expect(figure.layout.xaxis).toMatchObject({ categoryarray: ['a', 'b'] });
    expect(figure.data.map(({ type, mode }) => [type, mode])).toEqual([
      ['scatter', 'markers'],
      ['scatter', 'markers'],
    ]);
    expect(figure.layout.yaxis).toMatchObject({ type: 'log' });
    const marks = figure.data.map(({ marker }) => (marker as { symbol: string }).symbol);
    expect(new Set(marks).size).toBe(2);
  });
});

it('errorBars interleaves series that share no label', () => {
  const bar = (label: string) => ({ tap: `layers.${label}`, label, error: 1e-3 });
  const series = [
    { label: 'even', errors: [bar('0'), bar('2')] },
    { label: 'odd', errors: [bar('1'), bar('3')] },
  ];
  const { layout } = errorBars(series, { title: 'T', scale: 'linear' });
  expect(layout).toMatchObject({ barmode: 'overlay', xaxis: { categoryarray: ['0', '1', '2', '3'] } });
});

it('errorBars puts long labels at the left', () => {
  const errors = [{ tap: 'layers.0', label: 'each convolution padded by itself', error: 1e-3 }];
  const { data, layout } = errorBars([{ label: 'one', errors }], { title: 'T' });
  expect(data[0]).toMatchObject({ type: 'scatter', x: [1e-3], y: ['each convolution padded by itself'] });
  expect(layout).toMatchObject({ xaxis: { type: 'log' }, yaxis: { type: 'category' } });
});

it('nmseRatio has the ratio of both NMSEs of each value', async () => {
  const report = await diffDumps(reference, tested);
  const { customdata, y } = nmseRatio(report).data[0]! as unknown as { customdata: string[][]; y: number[] };
  const logits = report.tapReports.find(({ name }) => name === 'lm_head') as FloatTapReport;
  const at = customdata.findIndex(([tap]) => tap === 'lm_head');
  expect(y[at]).toBe(logits.metrics.nmseVariance / logits.metrics.nmse);
  expect(y[at]).toBeGreaterThan(1.5);
});

it('routingMargins marks the flips that a diff finds, all left of the line', async () => {
  const figure = await routingMargins(reference, tested);
  const { routing } = await diffDumps(reference, tested);
  const [, same, flipped] = figure.data as unknown as { x: number[]; y: number[]; customdata: unknown[][] }[];
  const expected = routing!.flips.map(({ block, position }) => [`layers.${block}.mlp.gate:expert`, position]);
  expect(flipped!.customdata.map((entry) => entry.slice(0, 2))).toEqual(expected);
  expect(same!.x.length + flipped!.x.length).toBe(routing!.choices);
  flipped!.x.forEach((margin, at) => {
    expect(margin).toBeLessThanOrEqual(2 * flipped!.y[at]!);
  });
});

describe('nodeErrors', () => {
  const node = (place: number, rest: Partial<JudgedNode>): JudgedNode => ({
    id: place,
    step: place > 2 ? 1 : 0,
    op: 'MUL_MAT',
    name: `v${place}`,
    block: null,
    type: 'F32',
    ownError: 0,
    limit: 1e-13,
    isFault: false,
    widened: [],
    differences: [],
    nonFinite: 0,
    allNonFinite: 0,
    ...rest,
  });
  const verdict = (nodes: JudgedNode[]): RecordingVerdict => ({
    nodes,
    faults: nodes.filter(({ isFault }) => isFault).map(({ id }) => id),
    parts: null,
    missing: [],
    partial: [],
    found: true,
    alone: { tested: [], reference: [] },
    ownWeights: true,
    notes: [],
    names: { recording: 'run', reference: 'good', model: 'm.gguf' },
    device: 'CPU',
    threads: 1,
  });

  it('tells faults, roundings and exact nodes apart, over what has gathered', () => {
    const figure = nodeErrors(
      verdict([
        node(0, { wholeError: 0 }),
        node(1, { wholeError: 0, ownError: 1e-7, widened: ['F16'] }),
        node(2, {
          wholeError: 1e-3,
          ownError: 1e-3,
          isFault: true,
          cause: { words: 'a <b> cause', left: 0 },
        }),
        node(3, { wholeError: 1e-2, ownError: null }),
      ]),
    );
    expect(figure.data.map(({ name, x }) => [name, x])).toEqual([
      ['whole run, against the reference', [0, 1, 2, 3]],
      ['makes no error', [0]],
      ['rounds, as its types say', [1]],
      ['at fault', [2]],
    ]);
    expect(figure.data[3]!.customdata).toEqual([['v2', 'MUL_MAT', 0, '1.0e-3', '<br>a &lt;b&gt; cause']]);
    expect(figure.description).toContain('1 at fault, the first v2');
    expect(figure.layout.annotations).toMatchObject([{ text: 'step 1', x: 3 }]);
  });

  it('refuses a verdict without nodes', () => {
    expect(() => nodeErrors(verdict([]))).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
