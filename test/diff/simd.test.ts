import { describe, expect, it } from 'vitest';
import { MetricSums } from '../../src/diff/metrics.js';
import { UlpSums } from '../../src/diff/ulp.js';
import { widen } from '../../src/dump/widen.js';
import { SIMD_RANGE, simd } from '../../src/simd.js';
import { randomNumbers } from './random-numbers.js';

// The loops in TypeScript are the oracle; metrics.test.ts and ulp.test.ts hold both to the definitions.
const loops = simd();
if (loops === null) throw new Error('dist/wasm/loops.wasm is missing: npm run build');

/** Pairs of every kind of closeness, magnitude and sign. */
function pairs(length: number, seed: number): [Float32Array, Float32Array] {
  const random = randomNumbers(seed);
  const a = Float32Array.from({ length }, () => (random() - 0.5) * 2 ** Math.round(40 * (random() - 0.5)));
  const errors = [0, 0, 1e-7, 1e-4, 0.001, 0.005, 0.3, 2];
  const b = a.map((value) => value * (1 + errors[Math.floor(random() * errors.length)]! * (random() - 0.5)));
  for (let k = 0; k < length; k += 11) [a[k], b[k]] = [0, -0];
  for (let k = 5; k < length; k += 37) [a[k], b[k]] = [1e-41, 3e-42];
  return [a, b];
}

describe('SIMD loops', () => {
  it.each([0, 1, 3, 4, 7, 63, SIMD_RANGE, SIMD_RANGE + 1, 3 * SIMD_RANGE - 2])(
    'give the sums of the TypeScript loops for %d elements',
    (length) => {
      const [a, b] = pairs(length, length + 1);
      const [fast, plain] = [new MetricSums({}, loops), new MetricSums({}, null)];
      for (const sums of [fast, plain]) {
        sums.add(a, b);
        sums.add(b.subarray(1), a.subarray(1));
      }
      const [found, expected] = [fast.metrics(), plain.metrics()];
      for (const [key, value] of Object.entries(expected)) {
        const other = found[key as keyof typeof found];
        if (typeof value !== 'number' || !Number.isFinite(value)) expect(other, key).toEqual(value);
        else expect(Math.abs((other as number) - value), key).toBeLessThanOrEqual(1e-12 * Math.abs(value));
      }
      // Counts, the largest error and its place are exact.
      for (const key of [
        'maxAbs',
        'maxAbsIndex',
        'bitEqual',
        'withinTenthPercent',
        'withinHalfPercent',
      ] as const)
        expect(found[key], key).toBe(expected[key]);
    },
  );

  it('leave what is not finite to the same rules', () => {
    const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38, -3.4e38];
    for (const x of special)
      for (const y of [...special, 1]) {
        const [a, b] = pairs(5000, 3);
        [a[4097], b[4097]] = [x, y];
        [a[4100], b[4100]] = [x, x];
        const [fast, plain] = [new MetricSums({}, loops), new MetricSums({}, null)];
        for (const sums of [fast, plain]) sums.add(a, b);
        const { nonFinite, nan, inf, nonFiniteMismatches, sameInfinities, maxAbs, maxAbsIndex, bitEqual } =
          plain.metrics();
        expect(fast.metrics()).toMatchObject({
          ...{ nonFinite, nan, inf, nonFiniteMismatches, sameInfinities, maxAbs, maxAbsIndex, bitEqual },
        });
        expect(fast.firstNonFinite).toBe(plain.firstNonFinite);
      }
  });

  it.each(['F32', 'F16', 'BF16'] as const)('count distances in %s like the TypeScript loops', (dtype) => {
    const random = randomNumbers(17);
    const words = () => Int32Array.from({ length: 3 * SIMD_RANGE + 5 }, () => Math.floor(random() * 2 ** 32));
    const near = (bits: Int32Array) =>
      bits.map((word) => word ^ Math.floor(random() * 2 ** Math.floor(random() * 32)));
    const first = words();
    for (const other of [words(), near(first), first.slice()]) {
      const [a, b] = [new Float32Array(first.buffer), new Float32Array(other.buffer)];
      const [fast, plain] = [new UlpSums(dtype, loops), new UlpSums(dtype, null)];
      for (const sums of [fast, plain]) for (let k = 0; k < 9; k++) sums.add(a, b);
      expect(fast.distances()).toEqual(plain.distances());
    }
  });

  it.each(['F16', 'BF16'] as const)('widen all values of %s', (dtype) => {
    for (let start = 0; start < 65536; start += SIMD_RANGE) {
      const bits = Uint16Array.from({ length: SIMD_RANGE }, (_, k) => start + k);
      const expected = widen(bits, dtype, new Float32Array(SIMD_RANGE));
      expect(loops.widen(bits, dtype, 0)).toEqual(expected);
      expect(loops.widen(bits.subarray(0, 13), dtype, 1)).toEqual(expected.subarray(0, 13));
    }
  });
});
