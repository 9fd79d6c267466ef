/** What the backward of several ops is made of: small graphs of the vocabulary's ops. */
import type { Graph } from '../graph.js';
import { add, clamp, div, mul, scale, silu } from '../ops-arithmetic.js';
import {
  cast,
  concat,
  cont,
  getRows,
  permute,
  repeat,
  reshape,
  slice,
  splitAxis,
  transpose,
} from '../ops-layout.js';
import { sumRows } from '../ops-rows.js';
import { elementCount, type Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';

/** F32 and contiguous: what gradients and what they are multiplied with are. */
export function plain(x: Tensor): Tensor {
  return cont(cast(x, 'F32'));
}

/** The sum over everything that a tensor of `shape` is spread over: the backward of spreading. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const rank = x.shape.length;
  const target = [...new Array<number>(Math.max(0, rank - shape.length)).fill(1), ...shape].slice(-rank);
  let sum = x;
  for (let axis = rank - 1; axis >= 0; axis--) {
    if (target[axis] !== 1 || sum.shape[axis] === 1) continue;
    const order = sum.shape.map((_, at) => at);
    order.push(...order.splice(axis, 1));
    const back = order.map((_, at) => order.indexOf(at));
    const summed = sumRows(axis === rank - 1 ? sum : cont(permute(sum, order)));
    sum = axis === rank - 1 ? summed : cont(permute(summed, back));
  }
  return reshape(sum, shape);
}

/** `x` between zeros along an axis: the backward of a slice. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  let padded = x;
  if (before > 0) padded = concat(zeros(x, x.shape.with(axis, before)), padded, axis);
  if (after > 0) padded = concat(padded, zeros(x, x.shape.with(axis, after)), axis);
  return padded;
}

/** Zeros in the graph of `x`. */
function zeros(x: Tensor, shape: Shape): Tensor {
  const one = cont(slice(reshape(x, [elementCount(x.shape)]), 0, 0, 1));
  return repeat(scale(one, 0), shape);
}

/** Its square is beyond any F32 exponent: what is not 0 becomes at least 1. */
const HUGE = 2 ** 100;

/** 1 where a value is not 0, else 0. */
export function nonZero(x: Tensor): Tensor {
  const sign = clamp(scale(scale(x, HUGE), HUGE), -1, 1);
  return mul(sign, sign);
}

/** 1 where a value is above 0, else 0. */
export function positive(x: Tensor): Tensor {
  return clamp(scale(scale(x, HUGE), HUGE), 0, 1);
}

/**
 * `f(x) / x` for an activation that is x times something smooth: that something. At 0 it is `atZero`;
 * `atOne` is what it is at 1, where it is taken instead.
 */
export function factorOf(f: (x: Tensor) => Tensor, x: Tensor, atZero: number, atOne: number): Tensor {
  const isZero = scale(nonZero(x), -1, 1);
  const safe = add(x, isZero);
  return add(div(f(safe), safe), scale(isZero, atZero - atOne));
}

/** The logistic function. */
export function sigmoid(x: Tensor): Tensor {
  return factorOf(silu, x, 0.5, 1 / (1 + Math.exp(-1)));
}

/** `exp(x)` for values of at most 0. */
export function expOfNegative(x: Tensor): Tensor {
  const part = sigmoid(x);
  return div(part, scale(part, -1, 1));
}

/** Prefix of inputs that backward graphs read: see {@link fillConstants}. */
const CONSTANT = 'adjoint:';

/** 0, 1, 2 …: a leaf that {@link constantValues} fills. */
export function counting(graph: Graph, count: number, dtype: 'F32' | 'I32'): Tensor {
  const name = `${CONSTANT}${dtype}:${count}`;
  const known = graph.tensors.find((tensor) => tensor.op === 'input' && tensor.name === name);
  return known ?? graph.input(name, dtype, [count]);
}

/** What belongs into an input of a graph with an adjoint; undefined for inputs that are not of ours. */
export function constantValues({ name, dtype, shape }: Tensor): Float32Array | Int32Array | undefined {
  if (!name.startsWith(CONSTANT)) return undefined;
  const values = Array.from({ length: shape[0]! }, (_, at) => at);
  return dtype === 'I32' ? Int32Array.from(values) : Float32Array.from(values);
}

/**
 * Columns that are moved together: ggml copies transposed elements one by one, and each from another line.
 */
const STRIP = 32;

/**
 * A matrix (or a stack of them) transposed, in F32: `[.., m, k]` gives `[.., k, m]`. Other dtypes are widened
 * first, so that a copy of the matrix is held twice while it is transposed.
 */
export function transposed(matrix: Tensor): Tensor {
  const { shape } = matrix;
  const wide = widened(matrix);
  const k = shape.at(-1)!;
  if (shape.length > 3 || k % STRIP !== 0 || k === STRIP) return cont(transpose(wide));
  // In strips first, so that what is read next to each other lies near each other.
  const rank = shape.length;
  const order = [...Array(rank - 2).keys(), rank - 1, rank - 2, rank];
  const strips = cont(permute(splitAxis(wide, -1, k / STRIP), order)); //  .., k / 32, m, 32
  return reshape(cont(transpose(strips)), [...shape.slice(0, -2), k, shape.at(-2)!]);
}

function widened(matrix: Tensor): Tensor {
  const { dtype, shape, graph } = matrix;
  if (dtype === 'F32') return matrix;
  if (dtype === 'F16' || dtype === 'BF16') return cast(matrix, 'F32');
  const k = shape.at(-1)!;
  const rows = elementCount(shape) / k;
  return reshape(getRows(reshape(matrix, [rows, k]), counting(graph, rows, 'I32')), shape);
}
