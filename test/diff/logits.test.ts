import { expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { LogitsComparison, type TokenLogits } from '../../src/diff/logits/logits.js';
import type { TensorBatch } from '../../src/dump/reader.js';
import { randomNumbers } from './random-numbers.js';
import { dumpWith } from './two-dumps.js';

const { POSITIVE_INFINITY: INF, NaN: NAN } = Number;

function rowsOf(rows: readonly number[][]): TensorBatch {
  const positions = Int32Array.from(rows.keys());
  return {
    tap: {
      name: 'lm_head',
      block: null,
      file: 'model.arrow',
      dtype: 'F32',
      scope: 'token',
      axes: ['T', 'V'],
      shape: [rows[0]!.length],
    },
    dtype: 'F32',
    shape: [rows.length, rows[0]!.length],
    data: Float32Array.from(rows.flat()),
    sequence: new Int32Array(rows.length),
    position: positions,
    tokenId: positions,
    step: new Int32Array(rows.length),
  };
}

function compared(a: readonly number[][], b: readonly number[][]) {
  const comparison = new LogitsComparison();
  comparison.add(rowsOf(a), rowsOf(b));
  return comparison.report();
}

/** The definition over doubles, by sorting and by soft-maxes written out. */
function naive(a: Float32Array, b: Float32Array): Partial<TokenLogits> {
  const softMax = (row: Float32Array) => {
    const weights = [...row].map((value) => Math.exp(value - Math.max(...row)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  };
  const order = (row: Float32Array) =>
    [...row.keys()].sort((x, y) => row[y]! - row[x]! || x - y).slice(0, 10);
  const [p, q] = [softMax(a), softMax(b)];
  const [topA, topB] = [order(a), order(b)];
  return {
    kl: p.reduce((sum, x, k) => sum + x * Math.log(x / q[k]!), 0),
    top1: { reference: topA[0]!, tested: topB[0]! },
    topShared: topA.filter((id) => topB.includes(id)).length,
    topSameOrder: topA.join() === topB.join(),
    margin: { reference: a[topA[0]!]! - a[topA[1]!]!, tested: b[topB[0]!]! - b[topB[1]!]! },
    probabilityChange: q[topA[0]!]! - p[topA[0]!]!,
  };
}

it('agrees with the definitions on random logits', () => {
  const random = randomNumbers(3);
  for (const size of [0.001, 0.3, 4]) {
    const a = Float32Array.from({ length: 500 }, () => 10 * random());
    const b = a.map((value) => value + size * (random() - 0.5));
    const [token] = compared([[...a]], [[...b]]).tokens as [TokenLogits];
    const expected = naive(a, b);
    expect(token.kl).toBeCloseTo(expected.kl!, 12);
    expect(token.probabilityChange).toBeCloseTo(expected.probabilityChange!, 12);
    for (const key of ['top1', 'topShared', 'topSameOrder', 'margin'] as const)
      expect(token[key]).toEqual(expected[key]);
  }
});

it.each<[string, number[], number[], Partial<TokenLogits>]>([
  [
    'equal rows',
    [1, 3, 2],
    [1, 3, 2],
    { kl: 0, topShared: 3, topSameOrder: true, probabilityChange: 0, margin: { reference: 1, tested: 1 } },
  ],
  ['a shift of all logits', [1, 3, 2], [101, 103, 102], { kl: 0, topSameOrder: true }],
  [
    'ties, the lower id first',
    [5, 5, 1],
    [5, 5, 1],
    { top1: { reference: 0, tested: 0 }, margin: { reference: 0, tested: 0 } },
  ],
  ['a token that both exclude', [0, -INF], [0, -INF], { kl: 0, margin: { reference: INF, tested: INF } }],
  ['a token that the tested side excludes', [0, 0], [0, -INF], { kl: INF }],
  ['a token that the reference excludes', [0, -INF], [0, 0], { kl: Math.log(2) }],
  ['NaN', [0, 1], [NAN, 1], { kl: NAN, top1: { reference: 1, tested: -1 }, topShared: 0 }],
  [
    'an infinity',
    [0, INF],
    [0, INF],
    { kl: NAN, top1: { reference: -1, tested: -1 }, probabilityChange: NAN },
  ],
  ['nothing but −Infinity', [-INF, -INF], [0, 1], { kl: NAN, top1: { reference: -1, tested: 1 } }],
  ['a vocabulary of one', [4], [7], { kl: 0, topShared: 1, margin: { reference: INF, tested: INF } }],
])('is defined for %s', (_case, a, b, expected) => {
  const [token] = compared([a], [b]).tokens as [TokenLogits];
  for (const [key, value] of Object.entries(expected))
    if (typeof value === 'number' && Number.isFinite(value))
      expect(token[key as 'kl'], key).toBeCloseTo(value, 12);
    else expect(token[key as 'kl'], key).toEqual(value);
});

it('sums up over tokens', () => {
  const report = compared(
    [
      [0, 1],
      [0, 1],
    ],
    [
      [0, 1],
      [1, 0],
    ],
  );
  expect(report).toMatchObject({ top1Agreement: 0.5, topAgreement: 1 });
  expect(report.klMax).toBeCloseTo(Math.tanh(0.5), 12);
  expect(report.klMean).toBeCloseTo(Math.tanh(0.5) / 2, 12);
});

it('is empty without tokens', () => {
  expect(new LogitsComparison().report()).toEqual({
    tokens: [],
    nonFinite: 0,
    klMean: 0,
    klMax: 0,
    top1Agreement: 1,
    topAgreement: 1,
  });
});

it('is part of a diff that compares lm_head', async () => {
  const { logits } = await diffDumps(await dumpWith(), await dumpWith());
  expect(logits!.tokens.map(({ position, kl }) => [position, kl])).toEqual(
    [0, 1, 2, 3, 4, 5].map((position) => [position, 0]),
  );
  expect((await diffDumps(await dumpWith(), await dumpWith(), { taps: 'layers.**' })).logits).toBeNull();
});
