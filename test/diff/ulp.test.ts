import { expect, it } from 'vitest';
import { coarserDtype, UlpSums } from '../../src/diff/ulp.js';
import { toFloat32 } from '../../src/dump/float.js';
import { randomNumbers } from './random-numbers.js';

/**
 * All non-negative finite values of a 16-bit dtype, ascending: the place in this list is the distance from
 * zero.
 */
function ladder(dtype: 'F16' | 'BF16'): Float32Array {
  const length = dtype === 'F16' ? 0x7c00 : 0x7f80;
  return toFloat32(
    Uint16Array.from({ length }, (_, k) => k),
    dtype,
  );
}

/** Signed place of the nearest value on the ladder, ties to the even place; undefined beyond its end. */
function nearestPlace(value: number, values: Float32Array): number | undefined {
  const size = Math.abs(value);
  let low = 0;
  let high = values.length;
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= size) low = middle;
    else high = middle;
  }
  const next = low + 1 < values.length ? values[low + 1]! : 2 * values[low]! - values[low - 1]!;
  const middle = (values[low]! + next) / 2;
  const place = size > middle || (size === middle && low % 2 === 1) ? low + 1 : low;
  return place === values.length ? undefined : Math.sign(value) * place;
}

function bucketOf(distance: number): number {
  return distance < 2 ? distance : Math.ceil(Math.log2(distance)) + 1;
}

it.each(['F16', 'BF16'] as const)('counts distances in %s of values rounded to it', (dtype) => {
  const random = randomNumbers(7);
  const values = ladder(dtype);
  const pick = () => (random() < 0.5 ? 1 : -1) * values[Math.floor(random() * values.length)]!;
  const a = Float32Array.from({ length: 4000 }, (_, k) =>
    k % 3 === 0 ? pick() : 2 ** (40 * random() - 30) * (random() - 0.5),
  );
  const b = a.map((value) =>
    random() < 0.2 ? value : value * (1 + 2 ** (-12 * random()) * (random() - 0.5)),
  );
  // Ties, the largest values, and what rounds beyond them.
  a.set([
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    1 + 2 ** -8,
    65504,
    65519,
    65520,
    3.39e38,
    3.4e38,
    0,
    -0,
    6e-8,
    2.9e-8,
  ]);
  b.set([1, 1, 1, 65472, 65504, 65504, 3.38e38, 3.39e38, -0, 1e-8, -6e-8, 3e-8]);
  const expected: number[] = [];
  for (const [k, value] of a.entries()) {
    const [x, y] = [nearestPlace(value, values), nearestPlace(b[k]!, values)];
    if (x === undefined || y === undefined) continue;
    const bucket = bucketOf(Math.abs(x - y));
    expected[bucket] = (expected[bucket] ?? 0) + 1;
  }
  const sums = new UlpSums(dtype);
  sums.add(a, b);
  const { histogram, elements } = sums.distances();
  expect(histogram).toEqual(Array.from(expected, (count) => count ?? 0));
  expect(elements).toBe(expected.reduce((sum, count) => sum + (count ?? 0), 0));
  expect(elements).toBeLessThan(4000);
});

it('counts distances in F32, across zero too, and leaves out what is not finite', () => {
  const step = 2 ** -149;
  const sums = new UlpSums('F32');
  const one = 2 ** -23;
  sums.add(
    Float32Array.of(1, 1, 1, 1, 1, step, 0, Number.NaN, 1, 3.4e38),
    Float32Array.of(
      1,
      1 + one,
      1 + 2 * one,
      1 + 4 * one,
      1 + 5 * one,
      -step,
      -0,
      1,
      Number.POSITIVE_INFINITY,
      -3.4e38,
    ),
  );
  const { histogram, elements, shareOverOne } = sums.distances();
  // -3.4e38 is 2 * 0x7f7fc99e apart from its opposite, in the last bucket.
  expect(histogram).toEqual([2, 1, 2, 1, 1, ...new Array(28).fill(0), 1]);
  expect([elements, shareOverOne]).toEqual([8, 5 / 8]);
});

it('is empty without elements', () => {
  expect(new UlpSums('BF16').distances()).toEqual({
    dtype: 'BF16',
    elements: 0,
    histogram: [],
    shareOverOne: 0,
  });
});

it('samples a large tensor after its first 2^16 elements', () => {
  const sums = new UlpSums('F32');
  const part = new Float32Array(2 ** 18).fill(1);
  for (let k = 0; k < 12; k++) sums.add(part, part);
  expect(sums.distances().elements).toBe(2 ** 16 + (12 * 2 ** 18 - 2 ** 16) / 8);
});

it.each([
  ['F32', 'F32', 'F32'],
  ['F32', 'F16', 'F16'],
  ['BF16', 'F32', 'BF16'],
  ['F16', 'BF16', 'BF16'],
] as const)('the coarser of %s and %s is %s', (a, b, coarser) => {
  expect(coarserDtype(a, b)).toBe(coarser);
});
