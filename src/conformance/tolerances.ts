import { blockSize, type Dtype, isQuantized } from '../dtype.js';
import type { OpName } from '../graph/ops.js';
import type { Tensor } from '../graph/tensor.js';

/** Largest relative error of one rounding to nearest: half a unit in the last place. Integers are exact. */
const UNIT: Readonly<Partial<Record<Dtype, number>>> = {
  F32: 2 ** -24,
  F16: 2 ** -11,
  BF16: 2 ** -8,
  I32: 0,
};
const U = UNIT.F32!;

/** What a result may be off, and why: known before anything has run. */
export interface Tolerance {
  /**
   * Largest relative error of the root mean square, from the node's dtypes and sizes; its square is the
   * largest NMSE.
   */
  bound(node: Tensor): number;
  /** In one sentence. */
  reason: string;
}

/** One rounding to the dtype of the result where it is not F32. */
const stored = ({ dtype }: Tensor): number => (dtype === 'F32' ? 0 : UNIT[dtype]!);

/** A result that is rounded `count` times in F32, and once to its own dtype. */
const rounded = (count: number) => (node: Tensor) => count * U + stored(node);

const MOVED: Tolerance = { bound: () => 0, reason: 'bits are moved: any difference is an error' };
const CONVERTED: Tolerance = {
  bound: (node) => (node.dtype === node.sources[0]!.dtype ? 0 : stored(node)),
  reason: 'bits are moved; one rounding where the dtype changes',
};
const ORDERED: Tolerance = { bound: () => 0, reason: 'indices: the right ones or not' };
const ROUNDED: Tolerance = { bound: rounded(1), reason: 'one rounding' };
const EXPONENTIAL: Tolerance = {
  bound: rounded(45),
  reason:
    'Vulkan allows an exp 3 + 2|x| units in the last place (|x| to 8), a quotient 2.5; a unit is two roundings',
};
const TABLE: Tolerance = {
  bound: () => 3 * UNIT.F16!,
  reason:
    'ggml reads it from a table on the CPU: argument and value are rounded to F16; the slope is at most 1.13, the result has 0.65 of the rms of a normal argument',
};
const NORM: Tolerance = {
  bound: (node) => (Math.sqrt(inner(node, 0)) + 6) * U,
  reason: 'a sum of n squares, one after the other (√n roundings), a root and a quotient (2.5 units each)',
};
const SUM: Tolerance = {
  bound: (node) => (Math.sqrt(inner(node, 0)) + 2) * U,
  reason: 'a sum of n, one after the other: √n roundings',
};
const PRODUCT: Tolerance = {
  bound: (node) => (Math.sqrt(inner(node, 0)) + 1) * U + operands(node),
  reason:
    'a sum of k products, one after the other: √k roundings of F32, whatever the device; half-width weights: F32 rows are rounded to their dtype first; quantised ones: rows are rounded to 8 bits a block first, whose step is at most √block/127 of the rms',
};

function inner({ sources }: Tensor, operand: number): number {
  return sources[operand]!.shape.at(-1)!;
}

/**
 * What the operands of a product may be rounded to, by the dtype of the matrix. F32 matrices and rows are
 * F32.
 */
function operands({ sources }: Tensor): number {
  const [{ dtype: matrix }, { dtype: rows }] = sources as readonly [Tensor, Tensor];
  if (isQuantized(matrix)) return Math.sqrt((blockSize(matrix) === 256 ? 256 : 32) / 12) / 127;
  return matrix === 'F32' || rows === matrix ? 0 : UNIT[matrix]!;
}

/** Largest absolute error of an angle, in roundings of 1, where positions are 0, 3, 6, .. */
function rotationError({ sources, params }: Tensor): number {
  const [dims, , , base] = params as readonly [number, number, number, number];
  const last = 3 * (sources[1]!.shape[0]! - 1);
  const errors = Array.from({ length: dims / 2 }, (_, pair) => {
    const log = (pair / (dims / 2)) * Math.log2(base);
    return pair === 0 ? 0 : 2 ** -log * Math.max(pair, 2 * (3 + 2 * log)) * last;
  });
  return Math.max(...errors);
}

/**
 * By op. The bound of each is what arithmetic of the stated kind cannot exceed (sums: with random signs, and
 * some room), not what a device was seen to reach.
 */
export const TOLERANCES: Readonly<Record<OpName, Tolerance>> = {
  reshape: MOVED,
  view: MOVED,
  permute: MOVED,
  transpose: MOVED,
  cont: MOVED,
  cast: CONVERTED,
  copyInto: CONVERTED,
  concat: MOVED,
  repeat: MOVED,
  getRows: {
    bound: (node) => (isQuantized(node.sources[0]!.dtype) ? 4 * U : 0),
    reason: 'bits are moved; a quantised element is a product and a sum in F32',
  },
  setRows: { ...CONVERTED, bound: stored },
  add: ROUNDED,
  sub: ROUNDED,
  mul: ROUNDED,
  div: { bound: rounded(5), reason: 'Vulkan allows a quotient 2.5 units in the last place' },
  scale: { bound: rounded(3), reason: 'a product and a sum, whose terms may cancel in part' },
  sqrt: { bound: rounded(6), reason: 'Vulkan allows 2 units of an inverse root, and a quotient' },
  clamp: MOVED,
  silu: EXPONENTIAL,
  gelu: TABLE,
  geluErf: {
    bound: rounded(8),
    reason: 'erf by a polynomial good to 1.5e-7 (Abramowitz and Stegun 7.1.26), and four roundings',
  },
  swiglu: EXPONENTIAL,
  mean: SUM,
  sumRows: SUM,
  rmsNorm: NORM,
  l2Norm: NORM,
  softMax: {
    bound: (node) => (Math.sqrt(inner(node, 0)) + 61) * U,
    reason:
      'Vulkan allows an exp 3 + 2|x| units (|x| to 10), a quotient 2.5; a sum of n; the argument itself is rounded',
  },
  argmax: ORDERED,
  argsort: ORDERED,
  mulMat: PRODUCT,
  mulMatId: PRODUCT,
  im2col: { ...CONVERTED, bound: stored },
  ssmConv: {
    bound: (node) => (inner(node, 1) + 1) * U,
    reason: 'a sum of as many products as the kernel is long',
  },
  rope: {
    bound: (node) => (rotationError(node) + 4) * U + stored(node),
    reason:
      'ggml multiplies angles up, i roundings for pair i, or raises the base: Vulkan allows a power 3 + 2|log2| units; an angle is at most the position; then two products and a sum',
  },
};

/** Largest NMSE of a node's result. */
export function largestNmse(node: Tensor): number {
  return TOLERANCES[node.op as OpName].bound(node) ** 2;
}

/**
 * Largest NMSE of a product of F16 operands whose sums are F16 too: not what a product may do, but what some
 * devices do.
 */
export function halfSumNmse(node: Tensor): number {
  return ((Math.sqrt(inner(node, 0)) + 2) * UNIT.F16!) ** 2;
}
