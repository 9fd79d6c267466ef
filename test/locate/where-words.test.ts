import { expect, it } from 'vitest';
import type { TapInfo } from '../../src/dump/format.js';
import type { TensorBatch } from '../../src/dump/reader.js';
import { EntryErrors, entriesWords } from '../../src/locate/faults/where/entries.js';
import {
  beginWords,
  type FirstWrong,
  firstOfAll,
  RowErrors,
} from '../../src/locate/faults/where/row-errors.js';

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

/** Where errors begin in two sequences (rows 0 to 2, and 3 to 5) of one call; `isWrong` by position. */
function ofTwo(...isWrong: ((position: number) => boolean)[]): FirstWrong {
  const rows = new RowErrors();
  const both = pair(tapOf(['H'], [4]), (row) => isWrong[Math.floor(row / 3)]!(row % 3));
  const index = Int32Array.from({ length: TOKENS }, (_, row) => row);
  const places = { sequence: index.map((row) => Math.floor(row / 3)), position: index.map((row) => row % 3) };
  const [right, other] = both.map((each) => ({ ...each, ...places }));
  rows.add(right!, other!);
  return rows.first(1e-9, 2)!;
}
const never = () => false;
const always = () => true;
const from = (first: number) => (position: number) => position >= first;
const at = (...wrong: number[]) => wrong.includes.bind(wrong);

it.each([
  [ofTwo(from(2), from(2)), ' Right up to position 1, wrong from 2 on.'],
  [ofTwo(always, always), ''],
  [
    ofTwo(from(2), from(1)),
    ' Sequence 0: right up to position 1, wrong from 2 on; sequence 1: right at position 0, wrong from 1 on.',
  ],
  [
    ofTwo(from(2), at(0, 2)),
    ' Sequence 0: right up to position 1, wrong from 2 on; sequence 1: wrong here and there.',
  ],
  [ofTwo(never, from(1)), ' Sequence 1: right at position 0, wrong from 1 on. Sequence 0 is right.'],
  [ofTwo(always, never), ' Sequence 0: wrong from position 0 on. Sequence 1 is right.'],
  // Of several ops the first wrong position of any, by sequence.
  [
    firstOfAll([ofTwo(at(1), at(1)), ofTwo(at(2), at(2))]),
    ' Right at position 0, then wrong here and there, first at 1.',
  ],
  [
    firstOfAll([ofTwo(from(1), from(2)), ofTwo(from(2), from(2))]),
    ' Sequence 0: right at position 0, wrong from 1 on; sequence 1: right up to position 1, wrong from 2 on.',
  ],
  [firstOfAll([ofTwo(never, from(1)), ofTwo(from(1), never)]), ' Right at position 0, wrong from 1 on.'],
])('says of each sequence where its error begins (%#)', (begins, words) => {
  expect(beginWords(begins, 1)).toBe(words);
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
