import type { RowIndex } from '../dump/format.js';
import type { OutputValue } from '../graph/compile.js';
import type { ModelTap } from '../models/runtime/trace.js';
import type { PositionRange } from '../positions.js';

/** One sequence's part of a forward call. */
export interface CallSequence {
  /** Number of the sequence in the dump. */
  sequence: number;
  /** Place in the batch, and the batch's size. */
  index: number;
  batch: number;
  /** Forward step, from 0. */
  step: number;
  /** Ids of the call's slots, T of them; padding included. */
  tokens: readonly number[];
  /** Slots already in the cache, and how many slots at the start of the sequence are padding. */
  past: number;
  padding: number;
  /** Positions (padding not counted) to take. */
  range: PositionRange;
}

/**
 * The part of a value that belongs to a sequence's selected rows. A view of the same memory, except where
 * visible positions must be cut out of longer rows.
 */
export function sequenceValue(
  { bytes, shape }: OutputValue,
  tap: ModelTap,
  call: CallSequence,
): { bytes: Uint8Array; shape: number[] } {
  const perSequence = bytes.byteLength / call.batch;
  const own = bytes.subarray(call.index * perSequence, (call.index + 1) * perSequence);
  const visible = call.past + call.tokens.length;
  if (tap.scope === 'step') {
    const inner = shape.slice(1);
    if (tap.axes[0] !== 'S') return { bytes: own, shape: inner };
    const row = own.byteLength / inner[0]!;
    const first = Math.max(call.padding, tap.window === undefined ? 0 : visible - tap.window);
    return { bytes: own.subarray(first * row, visible * row), shape: [visible - first, ...inner.slice(1)] };
  }
  const row = own.byteLength / call.tokens.length;
  const first = call.range.start + call.padding - call.past;
  const rows = call.range.end - call.range.start;
  const taken = own.subarray(first * row, (first + rows) * row);
  const inner = shape.slice(1);
  const span = inner[inner.length - 1];
  if (tap.axes[tap.axes.length - 1] !== 'S' || (call.padding === 0 && visible === span))
    return { bytes: taken, shape: [rows, ...inner] };
  const cut = cutColumns(taken, span!, call.padding, visible);
  return { bytes: cut, shape: [rows, ...inner.slice(0, -1), visible - call.padding] };
}

/** Columns [from, to) of rows of `width` F32 values. */
function cutColumns(bytes: Uint8Array, width: number, from: number, to: number): Uint8Array {
  const lines = bytes.byteLength / (4 * width);
  const out = new Uint8Array(lines * (to - from) * 4);
  for (let line = 0; line < lines; line++)
    out.set(bytes.subarray((line * width + from) * 4, (line * width + to) * 4), line * (to - from) * 4);
  return out;
}

/** Index columns of a sequence's selected rows. */
export function rowIndex({ sequence, step, tokens, past, padding, range }: CallSequence): RowIndex {
  const rows = range.end - range.start;
  const slot = range.start + padding - past;
  return {
    sequence: new Int32Array(rows).fill(sequence),
    position: Int32Array.from({ length: rows }, (_, row) => range.start + row),
    tokenId: Int32Array.from(tokens.slice(slot, slot + rows)),
    step: new Int32Array(rows).fill(step),
  };
}
