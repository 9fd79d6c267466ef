/** Which entries of a value stand where others should: values are made here, moved by hand. */
import { expect, it } from 'vitest';
import { entriesOf, movesOf, placedFrom } from '../../src/locate/causes/entry-moves.js';

/** Four tokens of two heads of three channels: the digits of each number are its place. */
const FACTORS = [
  { name: 'T', size: 4 },
  { name: 'nq', size: 2 },
  { name: 'd', size: 3 },
];
const value = (at: (token: number, head: number, channel: number) => number) =>
  Float32Array.from({ length: 24 }, (_, k) => at(Math.floor(k / 6), Math.floor(k / 3) % 2, k % 3));
const digits = (token: number, head: number, channel: number) => 100 * token + 10 * head + channel + 1;
const right = value(digits);

/** By axis: the wrong entries, and whose value they have. */
function found(tested: Float32Array, limit = 1e-12) {
  return Object.fromEntries(
    entriesOf(FACTORS).flatMap((axis) => {
      const moves = movesOf(axis, right, tested, limit);
      if (moves === undefined) return [];
      const from = moves.from === undefined ? null : Object.fromEntries(moves.from);
      return [[axis.name, { wrong: moves.wrong, from, areZero: moves.areZero }]];
    }),
  );
}

it('finds exchanged tokens, and no move along other axes', () => {
  const tested = value((t, h, c) => digits([0, 3, 2, 1][t]!, h, c));
  expect(found(tested)).toEqual({ T: { wrong: [1, 3], from: { 1: 3, 3: 1 }, areZero: false } });
});

it('finds single columns of heads that are exchanged', () => {
  // Column 1 is channel 1 of head 0, column 5 channel 2 of head 1.
  const tested = value((t, h, c) => {
    const column = [0, 5, 2, 3, 4, 1][3 * h + c]!;
    return digits(t, Math.floor(column / 3), column % 3);
  });
  const { columns, ...others } = found(tested);
  expect(columns).toEqual({ wrong: [1, 5], from: { 1: 5, 5: 1 }, areZero: false });
  expect(Object.values(others).filter(({ from }) => from !== null)).toEqual([]);
});

it('finds entries that have the value of the one before, of one other, and zeros', () => {
  const moved = value((t, h, c) => digits((t + 3) % 4, h, c));
  expect(found(moved).T!.from).toEqual({ 0: 3, 1: 0, 2: 1, 3: 2 });
  const repeated = value((t, h, c) => digits(t === 2 ? 1 : t, h, c));
  expect(found(repeated)).toEqual({ T: { wrong: [2], from: { 2: 1 }, areZero: false } });
  const ended = value((t, h, c) => (t === 3 ? 0 : digits(t, h, c)));
  expect(found(ended)).toEqual({ T: { wrong: [3], from: null, areZero: true } });
});

it('finds nothing in a right value, in another one, or where more is wrong than may be', () => {
  expect(found(right)).toEqual({});
  const other = value((t, h, c) => Math.cos(digits(t, h, c)));
  expect(Object.values(found(other)).filter(({ from, areZero }) => from !== null || areZero)).toEqual([]);
  const rounded = value((t, h, c) => 1.0001 * digits([0, 3, 2, 1][t]!, h, c));
  expect(Object.values(found(rounded)).filter(({ from }) => from !== null)).toEqual([]);
  expect(found(rounded, 1e-7).T!.from).toEqual({ 1: 3, 3: 1 });
});

it('moves them back', () => {
  const [tokens] = entriesOf(FACTORS);
  const from = new Map([
    [1, 3],
    [3, 1],
  ]);
  expect(placedFrom(right, tokens!, from)).toEqual(value((t, h, c) => digits([0, 3, 2, 1][t]!, h, c)));
});
