import type { Dtype } from '../dtype.js';
import { blockSize, sizeBytes } from '../dtype.js';
import type { NativeContext } from '../native.js';
import type { Graph } from './graph.js';
import type { OpName } from './ops.js';
import type { Shape } from './shape.js';

/**
 * A value of a {@link Graph}: either a leaf (input or resident memory) or the result of one op of the
 * vocabulary. It describes the value; numbers exist once the graph has been compiled and run.
 */
export interface Tensor {
  readonly graph: Graph;
  /** Position in `graph.tensors`; sources come before their users. */
  readonly id: number;
  readonly op: OpName | 'input' | 'resident';
  readonly dtype: Dtype;
  /** Axes in the reference's order, slowest first. */
  readonly shape: Shape;
  /**
   * Byte distance between neighbours along each axis of `shape`; for quantised types the last entry is the
   * size of a block.
   */
  readonly strides: readonly number[];
  readonly sources: readonly Tensor[];
  /** Scalar arguments as the ggml function takes them. */
  readonly params: readonly number[];
  readonly name: string;
  /** For `resident` leaves: where the memory is. */
  readonly resident: ResidentTensor | undefined;
}

/** A tensor with memory of its own that outlives graphs: a weight, a state, a constant. */
export interface ResidentTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** Axes in the reference's order, slowest first. */
  readonly shape: Shape;
  readonly context: NativeContext;
  readonly handle: number;
  /**
   * Rearranged by the device for products (ggml's weight repacking): written whole, never read, the matrix of
   * `mulMat` and `mulMatId` alone.
   */
  readonly isRepacked?: boolean;
}

/** Byte strides of a contiguous tensor, in the order of `shape`. */
export function contiguousStrides(dtype: Dtype, shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = sizeBytes(dtype, blockSize(dtype));
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step = axis === shape.length - 1 ? sizeBytes(dtype, shape[axis]!) : step * shape[axis]!;
  }
  return strides;
}

/**
 * True if every stride is that of a contiguous tensor, also along axes of size 1: several ggml functions
 * check those too (`scale`, `swiglu`, `ssm_conv`, `mul_mat`) and abort on a foreign one.
 */
export function isContiguous(tensor: Tensor): boolean {
  const expected = contiguousStrides(tensor.dtype, tensor.shape);
  return tensor.strides.every((stride, axis) => stride === expected[axis]);
}

/**
 * True if the elements lie in memory without gaps in the order of the axes, whatever the strides of axes of
 * size 1: a reshape makes such a tensor contiguous.
 */
export function isPacked(tensor: Tensor): boolean {
  const expected = contiguousStrides(tensor.dtype, tensor.shape);
  return tensor.shape.every((size, axis) => size === 1 || tensor.strides[axis] === expected[axis]);
}

/** True if the elements of each row (last axis) are neighbours in memory: all that most kernels need. */
export function hasContiguousRows(tensor: Tensor): boolean {
  return tensor.strides[tensor.shape.length - 1] === sizeBytes(tensor.dtype, blockSize(tensor.dtype));
}
