/** Which elements of the reference a tensor of the tested side holds. */
import type { TensorInfo } from '../../weights/checkpoint.js';
import type { Change } from './change.js';

/**
 * Rows of a tested tensor that are rows of one reference tensor. Row k of the segment is row
 * `first + rowOf(order, k)` of the reference.
 */
export interface Segment {
  /** Tensors that are all the same stand for each other; this is the first. */
  reference: TensorInfo;
  /** Row of the reference that the first is. */
  first: number;
  count: number;
  order: RowOrder;
}

/** The order in which rows of the reference follow each other. */
export type RowOrder =
  /** One after the other. */
  | { kind: 'same' }
  /** `size` rows one after the other, then those `step` after the first of them, and so on. */
  | { kind: 'groups'; size: number; step: number }
  /**
   * In each `block` rows, one of each of `parts` parts in turn: for two parts the halves of a head become
   * neighbours, as rotations of llama.cpp want them.
   */
  | { kind: 'interleaved'; block: number; parts: number }
  /** The way back: neighbours become parts. */
  | { kind: 'deinterleaved'; block: number; parts: number };

/** Row of the reference, counted from the segment's first, that row `k` of the segment is. */
export function rowOf(order: RowOrder, k: number): number {
  switch (order.kind) {
    case 'same':
      return k;
    case 'groups':
      return Math.floor(k / order.size) * order.step + (k % order.size);
    default: {
      const { block, parts } = order;
      const [start, own] = [Math.floor(k / block) * block, k % block];
      const outer = order.kind === 'interleaved' ? parts : block / parts;
      return start + (own % outer) * (block / outer) + Math.floor(own / outer);
    }
  }
}

/** A tensor of the tested side and what it holds. */
export interface WeightPair {
  tested: TensorInfo;
  segments: Segment[];
  /** Which side's matrices are transposed. */
  turned: 'none' | 'reference' | 'tested';
  /** The reference's elements in their order, in other axes. */
  isReshaped: boolean;
  change: Change;
  /** `names`: what other blocks hold under these names, although the values differ. */
  by: 'content' | 'names';
}
