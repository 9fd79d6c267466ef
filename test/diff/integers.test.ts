import { expect, it } from 'vitest';
import { IntegerSums, MAX_LISTED } from '../../src/diff/integers.js';

it('counts differing entries over several parts, and says which of a part differ', () => {
  const sums = new IntegerSums();
  expect(sums.add(Int32Array.of(1, 2, 3), Int32Array.of(1, 5, -3))).toEqual([1, 2]);
  expect(sums.add(Int32Array.of(4), Int32Array.of(4))).toEqual([]);
  expect(sums.metrics()).toEqual({ elements: 4, differing: 2 });
});

it('lists no more than a few over all parts, and counts all', () => {
  const sums = new IntegerSums();
  expect(sums.add(new Int32Array(15), new Int32Array(15).fill(1))).toHaveLength(15);
  expect(sums.add(new Int32Array(15), new Int32Array(15).fill(1))).toHaveLength(MAX_LISTED - 15);
  expect(sums.metrics().differing).toBe(30);
});

it('has no difference without elements', () => {
  expect(new IntegerSums().metrics()).toEqual({ elements: 0, differing: 0 });
});
