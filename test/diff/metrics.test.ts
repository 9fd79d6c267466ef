import { expect, it } from 'vitest';
import { MetricSums, type TensorMetrics } from '../../src/diff/metrics.js';
import { randomNumbers } from './random-numbers.js';

const { POSITIVE_INFINITY: INF, NaN: NAN } = Number;

/** The definitions, written down one after the other over doubles in two passes; finite inputs only. */
function naive(a: number[], b: number[]): Partial<TensorMetrics> {
  const sum = (term: (x: number, y: number) => number) =>
    a.reduce((total, x, k) => total + term(x, b[k]!), 0);
  const count = (holds: (x: number, y: number) => boolean) => sum((x, y) => (holds(x, y) ? 1 : 0));
  const n = a.length;
  const mean = sum((x) => x) / n;
  const squaredError = sum((x, y) => (x - y) ** 2);
  const errors = a.map((x, k) => Math.abs(x - b[k]!));
  const nmse = squaredError / sum((x) => x * x);
  return {
    elements: n,
    nmse,
    nmseVariance: squaredError / n / (sum((x) => (x - mean) ** 2) / n),
    snrDb: -10 * Math.log10(nmse),
    mse: squaredError / n,
    mae: sum((x, y) => Math.abs(x - y)) / n,
    maxAbs: Math.max(...errors),
    maxAbsIndex: errors.indexOf(Math.max(...errors)),
    relativeL2: Math.sqrt(squaredError) / Math.sqrt(sum((x) => x * x)),
    relativeLinf: Math.max(...errors) / Math.max(...a.map(Math.abs)),
    cosine: sum((x, y) => x * y) / Math.sqrt(sum((x) => x * x)) / Math.sqrt(sum((_, y) => y * y)),
    symmetricRelative: 1 - (2 * sum((x, y) => x * y)) / (sum((x) => x * x) + sum((_, y) => y * y)),
    withinTenthPercent: count((x, y) => Math.abs(x - y) <= 0.001 * Math.abs(x)) / n,
    withinHalfPercent: count((x, y) => Math.abs(x - y) <= 0.005 * Math.abs(x)) / n,
    bitEqual: count((x, y) => Object.is(x, y)) / n,
  };
}

function metricsOf(parts: readonly (readonly [ArrayLike<number>, ArrayLike<number>])[]): TensorMetrics {
  const sums = new MetricSums();
  for (const [a, b] of parts) sums.add(Float32Array.from(a), Float32Array.from(b));
  return sums.metrics();
}

it.each([
  ['one element', 1, 0, 0.01],
  ['a large mean', 5000, 1e4, 0.001],
  ['small errors', 9001, 0, 1e-6],
  ['large errors', 4096, 0, 2],
  ['errors at the 0.5 % bound', 8191, 0.5, 0.02],
])('agrees with the definitions for %s', (_case, length, mean, size) => {
  const random = randomNumbers(length + 1);
  const a = Float32Array.from({ length }, () => mean + random() - 0.5);
  const b = a.map((x) => (random() < 0.1 ? x : x * (1 + size * (random() - 0.5))));
  const split = Math.floor(length / 3);
  const metrics = metricsOf([
    [a.subarray(0, split), b.subarray(0, split)],
    [a.subarray(split), b.subarray(split)],
  ]);
  const expected = naive([...a], [...b]);
  for (const [name, value] of Object.entries(expected) as [keyof TensorMetrics, number][]) {
    if (name === 'nmseVariance' && length === 1) continue;
    // 1 − 2⟨a,b⟩/(‖a‖²+‖b‖²) cancels where a and b are close, so the naive value has an absolute error only.
    const tolerance = name === 'symmetricRelative' ? 1e-12 : 1e-9 * Math.abs(value);
    expect(Math.abs((metrics[name] as number) - value), name).toBeLessThanOrEqual(tolerance);
  }
});

it.each<[string, number[], number[], Partial<TensorMetrics>]>([
  [
    'nothing to compare',
    [],
    [],
    {
      elements: 0,
      nmse: 0,
      nmseVariance: 0,
      snrDb: INF,
      mse: 0,
      maxAbs: 0,
      maxAbsIndex: -1,
      cosine: 1,
      bitEqual: 1,
      bothZero: false,
    },
  ],
  [
    'zeros on both sides',
    [0, 0],
    [0, 0],
    {
      nmse: 0,
      nmseVariance: 0,
      relativeLinf: 0,
      cosine: 1,
      symmetricRelative: 0,
      withinTenthPercent: 1,
      bitEqual: 1,
      bothZero: true,
    },
  ],
  ['zeros beside a NaN on both sides', [0, Number.NaN], [0, Number.NaN], { nmse: INF, bothZero: false }],
  ['zeros and the least number above 0', [0, 2 ** -149], [0, 2 ** -149], { nmse: 0, bothZero: false }],
  [
    'a zero reference',
    [0, 0],
    [0, 2],
    {
      ...{
        nmse: INF,
        nmseVariance: INF,
        snrDb: -INF,
        mse: 2,
        mae: 1,
        maxAbs: 2,
        maxAbsIndex: 1,
        relativeL2: INF,
      },
      ...{ relativeLinf: INF, cosine: 0, symmetricRelative: 1, withinHalfPercent: 0.5, bitEqual: 0.5 },
    },
  ],
  ['a tested tensor of zeros', [3, 4], [0, 0], { nmse: 1, relativeL2: 1, cosine: 0, symmetricRelative: 1 }],
  [
    'equal constants',
    [0.1, 0.1, 0.1],
    [0.1, 0.1, 0.1],
    { nmse: 0, nmseVariance: 0, snrDb: INF, bitEqual: 1, bothZero: false },
  ],
  ['a constant reference with error', [2, 2], [2, 3], { nmse: 1 / 8, nmseVariance: INF, mse: 0.5 }],
  ['opposite signs', [1, -2], [-1, 2], { nmse: 4, cosine: -1, symmetricRelative: 2 }],
  [
    'zeros of different sign',
    [0, 1],
    [-0, 1],
    { nmse: 0, maxAbsIndex: -1, withinTenthPercent: 1, bitEqual: 0.5 },
  ],
  [
    'the same special values on both sides',
    [NAN, INF, -INF, 2],
    [NAN, INF, -INF, 2],
    {
      ...{
        nmse: INF,
        maxAbs: INF,
        maxAbsIndex: 0,
        nonFiniteMismatches: 1,
        withinTenthPercent: 0.75,
        bitEqual: 1,
      },
      ...{
        nan: { reference: 1, tested: 1 },
        inf: { reference: 2, tested: 2 },
        nonFinite: 3,
        sameInfinities: 2,
      },
    },
  ],
  [
    'an error beside the same infinity on both sides',
    [INF, 1, 2],
    [INF, 1.5, 2],
    { nmse: 0.05, maxAbs: 0.5, maxAbsIndex: 1, nonFinite: 1, sameInfinities: 1, nonFiniteMismatches: 0 },
  ],
  [
    'a NaN on one side',
    [1, 2, 3],
    [1, NAN, 4],
    {
      ...{ nmse: INF, nmseVariance: INF, snrDb: -INF, mse: INF, mae: INF, maxAbs: INF, maxAbsIndex: 1 },
      ...{
        relativeL2: INF,
        relativeLinf: INF,
        symmetricRelative: INF,
        withinHalfPercent: 1 / 3,
        bitEqual: 1 / 3,
      },
      ...{ nan: { reference: 0, tested: 1 }, nonFiniteMismatches: 1, cosine: 13 / Math.sqrt(10 * 17) },
    },
  ],
  [
    'infinities of different sign',
    [INF],
    [-INF],
    { nmse: INF, nonFiniteMismatches: 1, inf: { reference: 1, tested: 1 } },
  ],
  [
    'an infinity against a number',
    [1],
    [INF],
    { nmse: INF, nonFiniteMismatches: 1, inf: { reference: 0, tested: 1 } },
  ],
  ['nothing finite', [NAN], [NAN], { elements: 1, nmse: INF, mse: INF, cosine: 1, withinTenthPercent: 0 }],
  ['the largest floats', [3.4e38], [-3.4e38], { nmse: 4, cosine: -1, nonFiniteMismatches: 0 }],
])('is defined for %s', (_case, a, b, expected) => {
  const metrics = metricsOf([[a, b]]);
  for (const [name, value] of Object.entries(expected)) {
    const got = metrics[name as keyof TensorMetrics];
    if (typeof value === 'number' && Number.isFinite(value)) expect(got, name).toBeCloseTo(value, 12);
    else expect(got, name).toEqual(value);
  }
});

it('finds the first largest error over several parts, wherever it stands', () => {
  const quiet = new Float32Array(5000).fill(1);
  const loud = quiet.slice();
  loud[4500] = 1.5;
  loud[4700] = 1.5;
  const metrics = metricsOf([
    [quiet, quiet],
    [quiet, loud],
    [quiet, loud],
  ]);
  expect([metrics.maxAbs, metrics.maxAbsIndex]).toEqual([0.5, 9500]);
});

it('counts finite elements beside special ones in the same range, and in others', () => {
  const a = Float32Array.from({ length: 9000 }, (_, k) => (k === 10 ? NAN : k % 13));
  const b = a.map((value, k) => (k % 2 === 0 ? value * 1.5 : value));
  const finite = [...a.keys()].filter((k) => k !== 10);
  const expected = naive(
    finite.map((k) => a[k]!),
    finite.map((k) => b[k]!),
  );
  const sums = new MetricSums({ allowNaN: true });
  sums.add(a, b);
  const metrics = sums.metrics();
  expect([sums.firstNonFinite, metrics.nonFiniteMismatches]).toEqual([10, 0]);
  for (const name of ['nmse', 'mse', 'mae', 'cosine', 'nmseVariance', 'relativeLinf'] as const)
    expect(metrics[name], name).toBeCloseTo(expected[name]!, 12);
  expect(metrics.nan).toEqual({ reference: 1, tested: 1 });
});
