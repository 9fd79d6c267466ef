/** Finds a tensor's rows among the rows of others: fused, split, stacked, and in another order. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import { explainedBy, isClear } from './change.js';
import { type RowOrder, rowOf, type Segment } from './pairing.js';
import { type FoundRow, isFlatRow, nearestRow, rowDistance, type TensorRows } from './row-index.js';

/** More segments than a tensor is sensibly joined from. */
const MOST_SEGMENTS = 4096;
/** First elements of a row err more than all of it. */
const SLACK = 4;

/** Segments that make up the tested tensor; undefined where a row has no partner beyond doubt. */
export function matchRows(tested: TensorRows, references: readonly TensorRows[]): Segment[] | undefined {
  const segments: Segment[] = [];
  const search = new Search(tested, references);
  for (let at = 0; at < tested.rows; ) {
    const found = search.at(at);
    if (found === undefined || segments.length >= MOST_SEGMENTS) return undefined;
    const own = references[found.tensor]!;
    const { order, count } = search.longest(own, at, found);
    segments.push({ reference: own.tensor, first: found.row, count, order });
    at += count;
  }
  return segments;
}

class Search {
  readonly #tested: TensorRows;
  readonly #references: readonly TensorRows[];

  constructor(tested: TensorRows, references: readonly TensorRows[]) {
    this.#tested = tested;
    this.#references = references;
  }

  at(row: number): FoundRow | undefined {
    if (isFlatRow(this.#tested, row)) return undefined;
    const found = nearestRow(this.#references, this.#tested, row);
    if (found === undefined) return undefined;
    const { tensor } = this.#references[found.tensor]!;
    return isClear(found.error, found.next, this.#limit(tensor)) ? found : undefined;
  }

  /** The order that holds for most rows from here on, and for how many. */
  longest(own: TensorRows, at: number, { row: first, tensor }: FoundRow): { order: RowOrder; count: number } {
    const run = (order: RowOrder) => this.#run(own, at, first, order);
    const same: RowOrder = { kind: 'same' };
    let best: { order: RowOrder; count: number } = { order: same, count: run(same) };
    const size = best.count;
    if (at + size >= this.#tested.rows) return best;
    const next = this.at(at + size);
    if (next === undefined || next.tensor !== tensor || next.row <= first) return best;
    const step = next.row - first;
    const groups: RowOrder = { kind: 'groups', size, step };
    const grouped = run(groups);
    if (grouped >= 3 * size) best = { order: groups, count: grouped };
    if (size !== 1) return best;
    // Parts that follow `step` rows apart make blocks of as many parts as come before the second row.
    for (const order of [...interleavings(this.#tested.rows - at, step), ...deinterleavings(grouped, step)]) {
      const count = run(order);
      if (count > best.count) best = { order, count };
    }
    return best;
  }

  /** Rows from `at` on that are where the order says; at least one. */
  #run(own: TensorRows, at: number, first: number, order: RowOrder): number {
    const limit = SLACK * this.#limit(own.tensor);
    let count = 1;
    for (; at + count < this.#tested.rows; count++) {
      const row = first + rowOf(order, count);
      if (row >= own.rows || !(rowDistance(own, row, this.#tested, at + count) <= limit)) break;
    }
    return count;
  }

  #limit(reference: TensorInfo): number {
    return explainedBy(reference.dtype, this.#tested.tensor.dtype);
  }
}

/** Blocks of two, three or four parts of `step` rows. */
function interleavings(rows: number, step: number): RowOrder[] {
  return [2, 3, 4].flatMap((parts): RowOrder[] =>
    rows % (parts * step) === 0 || rows >= parts * step
      ? [{ kind: 'interleaved', block: parts * step, parts }]
      : [],
  );
}

/** Of every `step`-th row `count` follow each other. */
function deinterleavings(count: number, step: number): RowOrder[] {
  return count > 1 && step > 1 ? [{ kind: 'deinterleaved', block: count * step, parts: step }] : [];
}
