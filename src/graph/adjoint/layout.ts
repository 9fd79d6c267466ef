import { sizeBytes } from '../../dtype.js';
import { clamp, mul, scale, sub } from '../ops-arithmetic.js';
import { cast, cont, permute, repeat, reshape, slice, transpose } from '../ops-layout.js';
import { mulMat } from '../ops-products.js';
import type { Tensor } from '../tensor.js';
import { counting, pad, sumTo } from './pieces.js';
import { type BackwardRule, type BackwardRules, unary } from './rules.js';

/** A view is a slice along one axis, or splits an axis in two: its strides tell which. */
const view = unary(({ shape, params }, gradient, x) => {
  if (shape.length !== x.shape.length) return reshape(gradient, x.shape);
  const axis = shape.findIndex((size, at) => size !== x.shape[at]);
  if (axis < 0) return gradient;
  const step = axis === shape.length - 1 ? sizeBytes(x.dtype, 1) : x.strides[axis]!;
  const start = params.at(-1)! / step;
  return pad(gradient, axis, start, x.shape[axis]! - start - shape[axis]!);
});

/**
 * ggml says where each axis goes, fastest first; in the order of the axes: result axis i is axis order[i].
 */
function orderOf({ shape, params }: Tensor): number[] {
  const rank = shape.length;
  const order = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) order[rank - 1 - params[rank - 1 - axis]!] = axis;
  return order;
}

const concatBackward: BackwardRule = (node, gradient, isAsked) => {
  const axis = node.shape.length - 1 - node.params[0]!;
  const [a, b] = node.sources as [Tensor, Tensor];
  const [first, whole] = [a.shape[axis]!, node.shape[axis]!];
  return [
    isAsked(a) ? cont(slice(gradient, axis, 0, first)) : undefined,
    isAsked(b) ? cont(slice(gradient, axis, first, whole)) : undefined,
  ];
};

/** Rows are added up where they came from: a product with ones where an id picks a row. */
const getRowsBackward: BackwardRule = (node, gradient) => {
  const [table, ids] = node.sources as [Tensor, Tensor];
  const [rows, width] = table.shape.slice(-2) as [number, number];
  const [batch, count] = table.shape.length === 3 ? (ids.shape as [number, number]) : [1, ids.shape[0]!];
  const picked = reshape(cast(cont(ids), 'F32'), [batch, 1, count]);
  const own = repeat(reshape(counting(node.graph, rows, 'F32'), [1, rows, 1]), [batch, rows, count]);
  const distance = sub(own, picked);
  const isPicked = clamp(scale(mul(distance, distance), -1, 1), 0, 1); //                    batch, rows, count
  const columns = cont(transpose(reshape(gradient, [batch, count, width]))); //             batch, width, count
  return [reshape(mulMat(columns, isPicked), table.shape)]; //                              batch, rows, width
};

/** Backward of what moves values about. */
export const LAYOUT: BackwardRules = {
  reshape: unary((_, gradient, x) => reshape(gradient, x.shape)),
  view,
  permute: unary((node, gradient) => {
    const order = orderOf(node);
    return cont(
      permute(
        gradient,
        order.map((_, axis) => order.indexOf(axis)),
      ),
    );
  }),
  transpose: unary((_, gradient) => cont(transpose(gradient))),
  cont: unary((_, gradient) => gradient),
  // Rounding is taken for what it is in the mean: nothing.
  cast: unary((_, gradient) => gradient),
  copyInto: (node, gradient) => [reshape(gradient, node.sources[0]!.shape)],
  concat: concatBackward,
  repeat: unary((_, gradient, x) => sumTo(gradient, x.shape)),
  getRows: getRowsBackward,
};
