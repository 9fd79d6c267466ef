import { expect, it } from 'vitest';
import type { TapInfo } from '../../src/dump/format.js';
import type { TensorBatch } from '../../src/dump/reader.js';
import { EntryErrors, entriesWords } from '../../src/locate/faults/where/entries.js';
import { beginWords, RowErrors } from '../../src/locate/faults/where/row-errors.js';

const TOKENS = 6;

function batch(tap: TapInfo, data: Float32Array): TensorBatch {
  const rows = Int32Array.from({ length: TOKENS }, (_, row) => row);
  return {
    ...{ tap, dtype: 'F32', data, shape: [TOKENS, ...(tap.shape as number[])] },
    ...{ position: rows, sequence: new Int32Array(TOKENS), step: new Int32Array(TOKENS), tokenId: rows },
  } as unknown as TensorBatch;
}

function tapOf(axes: string[], shape: number[]): TapInfo {
  return {
    name: 'layers.0.x',
    block: 0,
    axes: ['T', ...axes],
    shape,
    scope: 'token',
    dtype: 'F32',
    file: 'x.arrow',
  };
}

/** All ones, against the same with an error of 0.5 where `isWrong`. */
function pair(tap: TapInfo, isWrong: (row: number, column: number) => boolean): [TensorBatch, TensorBatch] {
  const width = (tap.shape as number[]).reduce((a, b) => a * b, 1);
  const right = new Float32Array(TOKENS * width).fill(1);
  const other = right.map((value, k) => value + (isWrong(Math.floor(k / width), k % width) ? 0.5 : 0));
  return [batch(tap, right), batch(tap, other)];
}

it.each([
  [(row: number) => row > 0, ' Right at position 0, wrong from 1 on.'],
  [(row: number) => row % 2 === 1, ' Right at position 0, then wrong here and there, first at 1.'],
  [(row: number) => row > 1, ' Right up to position 1, wrong from 2 on.'],
  [(row: number) => row === 3, ' Right up to position 2, wrong at 3 alone.'],
  [() => true, ''],
])('says where an error begins (%#)', (isWrong, words) => {
  const rows = new RowErrors();
  rows.add(...pair(tapOf(['H'], [4]), isWrong));
  expect(beginWords(rows.first(1e-9, 1), 1)).toBe(words);
});

it.each([
  [2, ' Only channel 3 of 4 in every head is wrong.'],
  [1, ' Only channel 3 of 4 is wrong.'],
])('tells a channel of every head only of values with several heads (%i)', (heads, words) => {
  const tap = tapOf(['nk', 'd'], [heads, 4]);
  const sizes = new Map([
    ['nk', heads],
    ['d', 4],
  ]);
  const entries = new EntryErrors(tap, sizes);
  const [right, other] = pair(tap, (_, column) => column % 4 === 3);
  entries.add(right, other, undefined);
  expect(entriesWords(entries.wrong(1e-9))).toBe(words);
});
