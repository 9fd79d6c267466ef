import { expect, it } from 'vitest';
import type { TapInfo } from '../../src/dump/format.js';
import type { TensorBatch } from '../../src/dump/reader.js';
import { axisSizes, EntryErrors, entriesWords } from '../../src/locate/faults/where/entries.js';

/** What is said of a value of 3 tokens in which the elements that `isWrong` names are off by 1. */
function said(axes: string[], shape: number[], isWrong: (index: number) => boolean): string {
  const tap: TapInfo = { name: 'x', block: 0, scope: 'token', axes, shape, dtype: 'F32', file: 'x.arrow' };
  const width = shape.reduce((all, size) => all * size, 1);
  const right = Float32Array.from({ length: 3 * width }, () => 1);
  const other = right.map((value, k) => (isWrong(k % width) ? value + 1 : value));
  const rows = Int32Array.of(0, 1, 2);
  const at = { sequence: rows, position: rows, tokenId: rows, step: rows };
  const batch = (data: Float32Array): TensorBatch => ({
    ...at,
    tap,
    dtype: 'F32',
    shape: [3, ...shape],
    data,
  });
  const heads = { ...tap, axes: ['T', 'nk', 'd'], shape: [2, 16] };
  const errors = new EntryErrors(tap, axisSizes([heads]));
  errors.add(batch(right), batch(other), undefined);
  return entriesWords(errors.wrong(1e-13));
}

it('names heads only of a value that has some', () => {
  const third = (index: number) => index % 16 === 3;
  // the delayed half of two KV heads of 16 channels is one head wide
  expect(said(['T', 'nk*d/2'], [16], third)).toBe(' Only channel 3 of 16 is wrong.');
  expect(said(['T', 'nk', 'd'], [1, 16], third)).toBe(' Only channel 3 of 16 is wrong.');
  expect(said(['T', 'nk', 'd'], [2, 16], third)).toBe(' Only channel 3 of 16 in every head is wrong.');
  expect(said(['T', 'nk*d'], [32], third)).toBe(' Only channel 3 of 16 in every head is wrong.');
  // one channel of one head alone
  expect(said(['T', 'nk', 'd'], [2, 16], (index) => index === 19)).toBe(
    ' Only KV head 1 of 2 and channel 3 of 16 are wrong.',
  );
  expect(said(['T', 'H'], [32], third)).not.toContain('head');
});
