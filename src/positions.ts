import { badArgument, type ZayascopeError } from './errors.js';

/** A half-open range of token positions. */
export interface PositionRange {
  /** First position, from 0. */
  start: number;
  /** One past the last; greater than `start`. */
  end: number;
}

/**
 * The positions that a selection names in a sequence of `length` tokens: `all`, `last`, or `a:b` as Python
 * slices (either end may be missing, negative ends count from the back, ends beyond the sequence are cut).
 * Throws `BAD_ARGUMENT` for another spelling and for a selection that is empty.
 */
export function parsePositions(selection: string, length: number): PositionRange {
  if (!(Number.isSafeInteger(length) && length > 0))
    throw badPositions(selection, 'a sequence of at least one token', String(length));
  const text = selection.trim();
  if (text === 'all') return { start: 0, end: length };
  if (text === 'last') return { start: length - 1, end: length };
  const slice = /^(-?\d+)?:(-?\d+)?$/.exec(text);
  if (slice === null) throw badPositions(selection, "'all', 'last' or 'a:b'", `'${selection}'`);
  const bound = (digits: string | undefined, missing: number): number => {
    if (digits === undefined) return missing;
    const value = Number(digits);
    return Math.min(length, Math.max(0, value < 0 ? value + length : value));
  };
  const start = bound(slice[1], 0);
  const end = bound(slice[2], length);
  if (start >= end) throw badPositions(selection, `positions within the ${length} tokens`, 'none');
  return { start, end };
}

function badPositions(selection: string, expected: string, got: string): ZayascopeError {
  return badArgument('parsePositions', expected, `${got} ('${selection}')`);
}
