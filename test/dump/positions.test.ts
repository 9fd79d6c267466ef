import { expect, it } from 'vitest';
import { parsePositions } from '../../src/positions.js';

it.each([
  ['all', 0, 10],
  ['last', 9, 10],
  ['2:5', 2, 5],
  ['2:', 2, 10],
  [':5', 0, 5],
  [':', 0, 10],
  ['-3:', 7, 10],
  [':-3', 0, 7],
  ['-4:-1', 6, 9],
  ['-100:100', 0, 10],
])('%s of 10 tokens is %i..%i', (selection, start, end) => {
  expect(parsePositions(selection, 10)).toEqual({ start, end });
});

it.each(['5:5', '6:2', '10:', ':0', '', 'first', '1', '1:2:3', '1.5:2', 'a:b'])('refuses %j', (selection) => {
  expect(() => parsePositions(selection, 10)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});

it('refuses an empty sequence', () => {
  expect(() => parsePositions('all', 0)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});
