import { blockElements, tapBlockBytes } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { type FileRows, ReusableBuffer, type TensorBatch } from '../dump/reader.js';
import { simd } from '../simd.js';
import { leadingColumns, leadingRows } from './leading-columns.js';
import type { TapPair } from './pairing.js';
import type { RowRun } from './row-pairing.js';

/** Bytes of one side that are compared at a time. */
const PART_BYTES = 2 ** 22;

/**
 * Rows of a pair of taps that are to be read: `count` from row `row` of the reference's file, and from row
 * `other` of the tested one's.
 */
export interface Part {
  pair: TapPair;
  row: number;
  other: number;
  count: number;
}

/**
 * Rows that have been read, the same number of both sides; undefined where the first of them has no value.
 */
export interface Piece {
  pair: TapPair;
  /** Row of the reference's file with which it begins. */
  row: number;
  reference: TensorBatch | undefined;
  tested: TensorBatch | undefined;
}

/** Memory of both sides for one read. */
interface Memory {
  reference: ReusableBuffer;
  tested: ReusableBuffer;
}

/** Reads the same rows of two dumps. */
export class PairedReader {
  readonly #reference: DumpView;
  readonly #tested: DumpView;

  constructor(reference: DumpView, tested: DumpView) {
    this.#reference = reference;
    this.#tested = tested;
  }

  /**
   * Reads parts in order, each while the caller works on the one before. A part comes in several pieces where
   * its shape changes or a side's record batch ends. A piece is valid until the next is asked for.
   */
  async *read(parts: Iterable<Part>): AsyncGenerator<Piece> {
    const loops = simd();
    const lent = loops?.lend();
    try {
      yield* this.#readInto([newMemory(lent?.slice(0, 2)), newMemory(lent?.slice(2))], parts);
    } finally {
      if (lent !== undefined) loops!.giveBack();
    }
  }

  async *#readInto(memories: readonly [Memory, Memory], parts: Iterable<Part>): AsyncGenerator<Piece> {
    let current: { part: Part; memory: Memory; reading: Promise<Piece> } | undefined;
    let turn: 0 | 1 = 0;
    for (const part of parts) {
      turn = turn === 0 ? 1 : 0;
      const memory = memories[turn];
      const ahead = { part, memory, reading: this.#piece(part, memory) };
      // It is awaited below; until then its failure must not count as unhandled.
      ahead.reading.catch(() => {});
      if (current !== undefined) yield* this.#pieces(current.part, current.reading, current.memory);
      current = ahead;
    }
    if (current !== undefined) yield* this.#pieces(current.part, current.reading, current.memory);
  }

  async *#pieces(part: Part, reading: Promise<Piece>, memory: Memory): AsyncGenerator<Piece> {
    let piece = await reading;
    for (let done = 0; ; ) {
      yield piece;
      done += piece.reference?.shape[0] ?? 1;
      if (done >= part.count) return;
      const { pair, row, other, count } = part;
      piece = await this.#piece({ pair, row: row + done, other: other + done, count: count - done }, memory);
    }
  }

  async #piece({ pair, row, other, count }: Part, memory: Memory): Promise<Piece> {
    const [whole, b] = await Promise.all([
      this.#reference.readRows(pair.reference.name, row, row + count, memory.reference),
      this.#tested.readRows(pair.tested.name, other, other + count, memory.tested),
    ]);
    const a = whole && pair.columns !== undefined ? leadingColumns(whole, pair.columns) : whole;
    const rows = Math.min(a?.shape[0] ?? 1, b?.shape[0] ?? 1);
    return { pair, row, reference: a && leadingRows(a, rows), tested: b && leadingRows(b, rows) };
  }
}

/**
 * Cuts runs of rows into parts of a few megabytes, all taps of a record batch before the next batch: its
 * metadata, and its body where it is small, are then read once.
 * @param longest tokens of the longest sequence: no axis that varies is longer.
 */
export function* partsOf(
  pairs: readonly TapPair[],
  runs: readonly RowRun[],
  rows: { reference: FileRows; tested: FileRows },
  longest: number,
): Generator<Part> {
  for (const run of runs)
    for (let done = 0; done < run.length; ) {
      const [row, other] = [run.reference + done, run.tested + done];
      const length = Math.min(
        run.length - done,
        batchEnd(rows.reference.starts, row) - row,
        batchEnd(rows.tested.starts, other) - other,
      );
      for (const pair of pairs) {
        const { shape, dtype } = pair.reference;
        const rowBytes = shape.reduce<number>(
          (bytes, size) => bytes * (size ?? longest),
          tapBlockBytes(dtype) / blockElements(dtype),
        );
        const most = Math.max(1, Math.floor(PART_BYTES / rowBytes));
        for (let at = 0; at < length; at += most)
          yield { pair, row: row + at, other: other + at, count: Math.min(most, length - at) };
      }
      done += length;
    }
}

function newMemory([reference, tested]: readonly Uint8Array[] = []): Memory {
  return { reference: new ReusableBuffer(reference), tested: new ReusableBuffer(tested) };
}

/** First row after the batch that holds `row`. */
function batchEnd(starts: Float64Array, row: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle]! > row) high = middle;
    else low = middle + 1;
  }
  return starts[low]!;
}
