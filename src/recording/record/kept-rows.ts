/** Rows of a value that a selection of positions keeps. */
import type { RowIndex } from '../../dump/format.js';
import { parsePositions } from '../../positions.js';

/** Positions as the user wrote them, and how many each sequence has in the end. */
export interface Positions {
  text: string;
  lengths: readonly number[];
}

/** One entry a row, 1 where it is kept. `last` is the last row of each step. */
export function keptRows({ position, sequence }: RowIndex, { text, lengths }: Positions): Uint8Array {
  if (text.trim() === 'last') return Uint8Array.from(position, (_, k) => (k === position.length - 1 ? 1 : 0));
  const { start, end } = parsePositions(text, lengths[sequence[0]!]!);
  return Uint8Array.from(position, (at) => (at >= start && at < end ? 1 : 0));
}

/** The bytes of the rows that are kept. */
export function rowsOfBytes(bytes: Uint8Array, present: Uint8Array): { bytes: Uint8Array; count: number } {
  const count = present.reduce((sum, one) => sum + one, 0);
  if (count === present.length) return { bytes, count };
  const size = bytes.byteLength / present.length;
  const out = new Uint8Array(count * size);
  let place = 0;
  for (const [row, isKept] of present.entries())
    if (isKept === 1) out.set(bytes.subarray(row * size, (row + 1) * size), size * place++);
  return { bytes: out, count };
}
