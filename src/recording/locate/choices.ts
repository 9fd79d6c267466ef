/** Choices of experts, keys or tokens: sorted indices, of which later nodes read the first few. */
import type { DumpGraph, GraphTensor } from '../../dump/graph-file.js';

/** Rows of a sorting in which other entries are chosen than in the reference. */
export interface OtherChoices {
  changed: number;
  rows: number;
  /** Row of the first. */
  first: number;
}

const SORTINGS: ReadonlySet<string> = new Set(['ARGSORT', 'TOP_K']);

/** Indices that are read of each row of a sorting, by its id: as many as its widest view has. */
export function chosenColumns({ tensors }: DumpGraph): Map<number, number> {
  const columns = new Map<number, number>();
  const isSorting = (id: number | null | undefined): id is number =>
    id != null && SORTINGS.has(tensors[id]!.op);
  const read = (id: number, count: number) => columns.set(id, Math.max(columns.get(id) ?? 0, count));
  for (const { viewSrc, ne, op, src } of tensors) {
    if (isSorting(viewSrc)) read(viewSrc, ne[0]);
    else if (op !== 'NONE') for (const id of src) if (isSorting(id)) read(id, tensors[id]!.ne[0]);
  }
  return columns;
}

/** Rows whose first `chosen` indices are another set. @param width indices of a row. */
export function otherChoices(
  reference: ArrayLike<number>,
  tested: ArrayLike<number>,
  width: number,
  chosen: number,
): OtherChoices {
  const found: OtherChoices = { changed: 0, rows: reference.length / width, first: -1 };
  for (let row = 0; row < found.rows; row++) {
    const set = (values: ArrayLike<number>) =>
      Array.from({ length: chosen }, (_, k) => values[row * width + k]!)
        .sort((a, b) => a - b)
        .join();
    if (set(reference) === set(tested)) continue;
    if (found.changed++ === 0) found.first = row;
  }
  return found;
}

/** Whether a node's value is a choice that {@link chosenColumns} counts. */
export function isChoice({ op }: Pick<GraphTensor, 'op'>): boolean {
  return SORTINGS.has(op);
}
