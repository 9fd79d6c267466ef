/** One check of a dump's rows against its manifest, for all readers: neither may contradict the other. */
import { parsePositions } from '../../positions.js';
import type { Manifest, RowIndex, TapInfo } from '../format.js';
import { sequenceLength } from '../sequences.js';

/** What the manifest says of the rows of a file. */
export type RowClaims = Pick<Manifest, 'status' | 'steps' | 'sequences' | 'selection' | 'graph'>;

/** Index columns; statistics have no token ids. */
type Rows = Omit<RowIndex, 'tokenId'> & { tokenId?: Int32Array };

/** What was expected of the rows, and what came. */
export interface RowFault {
  expected: string;
  got: string;
}

/**
 * Compares index columns with the manifest: sequences, positions, token ids and steps that it does not have;
 * and, of a complete dump, positions and steps that it has and the rows lack. What a partial dump and a
 * recording lack is no fault.
 * @param taps those that the rows belong to: rows may be missing where each may be (nullable), or is one of a
 * step.
 */
export function rowFault(
  claims: RowClaims,
  taps: readonly Pick<TapInfo, 'scope' | 'nullable'>[],
  rows: Rows,
): RowFault | undefined {
  const isComplete = claims.status === 'complete';
  const wanted = claims.sequences.map((sequence) => selected(claims, sequenceLength(sequence)));
  const mayHoldMore = claims.graph !== undefined || taps.some(({ nullable }) => nullable);
  // From a sequence's first position on: of more than there are rows one is missing among the first of them.
  const room = (size: number) => Math.max(0, Math.min(size, rows.position.length + 1));
  const seen = wanted.map(({ start, end }) => new Uint8Array(isComplete ? room(end - start) : 0));
  let last = -1;
  for (let row = 0; row < rows.position.length; row++) {
    const [sequence, position, step] = [rows.sequence[row]!, rows.position[row]!, rows.step[row]!];
    const own = claims.sequences[sequence];
    const where = `row ${row}`;
    if (own === undefined)
      return {
        expected: `rows of the manifest's ${claims.sequences.length} sequences`,
        got: `one of sequence ${sequence} (${where})`,
      };
    const tokens = own.tokens;
    const token = rows.tokenId?.[row];
    if (
      tokens !== undefined &&
      token !== undefined &&
      position >= 0 &&
      position < tokens.length &&
      tokens[position] !== token
    )
      return {
        expected: `token ${tokens[position]} at position ${position} of sequence ${sequence}, as the manifest says`,
        got: `${token} (${where})`,
      };
    if (!isComplete) continue;
    if (position < 0 || position >= sequenceLength(own))
      return {
        expected: `positions within the ${sequenceLength(own)} that the manifest gives sequence ${sequence}`,
        got: `${position} (${where})`,
      };
    const { start, end } = wanted[sequence]!;
    if (!mayHoldMore && (position < start || position >= end) && !isLast(claims))
      return {
        expected: `positions ${claims.selection.positions}, as the manifest's selection says`,
        got: `position ${position} of sequence ${sequence} (${where})`,
      };
    if (step < 0 || step >= claims.steps)
      return {
        expected: `steps below ${claims.steps}, as the manifest says`,
        got: `step ${step} (${where})`,
      };
    last = Math.max(last, step);
    if (position < end) seen[sequence]![position - start] = 1;
  }
  // A recording may have been made of some calls of a long-lived program.
  const covers =
    isComplete &&
    claims.graph === undefined &&
    taps.some(({ scope, nullable }) => scope === 'token' && nullable !== true);
  if (!covers) return undefined;
  for (const [sequence, { start, end }] of wanted.entries()) {
    const gap = start < end ? seen[sequence]!.indexOf(0) : -1;
    if (gap >= 0)
      return {
        expected: `a row for position ${start + gap} of sequence ${sequence}, which the manifest gives ${sequenceLength(claims.sequences[sequence]!)} positions, in a complete dump`,
        got: `none among ${rows.position.length} rows`,
      };
  }
  if (claims.selection.positions.trim() === 'all' && last + 1 < claims.steps)
    return { expected: `rows of ${claims.steps} steps, as the manifest says`, got: `rows of ${last + 1}` };
  return undefined;
}

function isLast({ selection }: RowClaims): boolean {
  return selection.positions.trim() === 'last';
}

/** The positions that must be there; none of a selection that no reader of this version understands. */
function selected({ selection }: RowClaims, length: number): { start: number; end: number } {
  try {
    return parsePositions(selection.positions, length);
  } catch {
    return { start: 0, end: 0 };
  }
}
