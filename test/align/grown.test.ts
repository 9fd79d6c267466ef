import { expect, it } from 'vitest';
import { lastRows } from '../../src/align/further-calls.js';
import type { Elements } from '../../src/align/layouts.js';

const value = (scope: 'token' | 'step', shape: number[], data: number[]): Elements => {
  const tap = {
    name: scope,
    file: '',
    block: null,
    scope,
    shape,
    dtype: 'F32',
  } as unknown as Elements['tap'];
  return { tap, shape, data: Float32Array.from(data) };
};
/** 2 heads, 20 rows after a first call of 19, 8 entries: its own number is in each. */
const cache = value(
  'step',
  [2, 20, 8],
  Array.from({ length: 320 }, (_, k) => Math.sin(k)),
);
const added = [0, 1].flatMap((head) =>
  Array.from({ length: 8 }, (_, k) => Math.sin(head * 160 + 19 * 8 + k)),
);
const first = { reference: { shape: [2, 19, 8] } };
const sizes = { tokens: 1, visible: 20 };

it('compares of a cache that grows what the call adds', () => {
  expect(lastRows(cache, value('token', [1, 2, 8], added), first, sizes)).toBeLessThan(1e-12);
});

it('sees what differs there', () => {
  const wrong = added.map((entry, k) => (k < 8 ? -entry : entry));
  expect(lastRows(cache, value('token', [1, 2, 8], wrong), first, sizes)).toBeGreaterThan(0.1);
});

it('compares nothing where shapes differ otherwise', () => {
  const other = { reference: { shape: [3, 19, 8] } };
  expect(lastRows(cache, value('token', [1, 2, 8], added), other, sizes)).toBeUndefined();
});
