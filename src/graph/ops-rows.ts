import {
  requireArgument,
  requireContiguous,
  requireContiguousRows,
  requireDtype,
  requireShape,
} from './rules.js';
import { toNe } from './shape.js';
import type { Tensor } from './tensor.js';

/** Mean of each row: `[.., n]` gives `[.., 1]`. F32, summed in double. */
export function mean(x: Tensor): Tensor {
  return reduce('mean', x);
}

/** Sum of each row: `[.., n]` gives `[.., 1]`. F32, summed in double. */
export function sumRows(x: Tensor): Tensor {
  return reduce('sumRows', x);
}

function reduce(op: 'mean' | 'sumRows', x: Tensor): Tensor {
  requireDtype(op, 'x', x, ['F32']);
  requireContiguousRows(op, 'x', x);
  return x.graph.emit({ op, sources: [x], dtype: 'F32', shape: [...x.shape.slice(0, -1), 1] });
}

/** `x / √(mean(x²) + eps)` along rows, without a weight. F32. */
export function rmsNorm(x: Tensor, eps: number): Tensor {
  return normalise('rmsNorm', x, eps);
}

/** `x / max(‖x‖, eps)` along rows. F32. */
export function l2Norm(x: Tensor, eps: number): Tensor {
  return normalise('l2Norm', x, eps);
}

function normalise(op: 'rmsNorm' | 'l2Norm', x: Tensor, eps: number): Tensor {
  requireDtype(op, 'x', x, ['F32']);
  requireContiguousRows(op, 'x', x);
  requireArgument(Number.isFinite(eps) && eps >= 0, op, 'an epsilon of at least 0', eps);
  return x.graph.emit({ op, sources: [x], params: [eps], dtype: 'F32', shape: x.shape });
}

/**
 * `softmax(x · factor + mask)` along rows. `x` F32 [.., rows, n], contiguous. `mask`, if given, is F32 or
 * F16, contiguous, and is added (0 keeps, −∞ hides): [rows, n], or with leading axes each of which is 1 or as
 * in `x`.
 */
export function softMax(x: Tensor, factor = 1, mask?: Tensor): Tensor {
  requireDtype('softMax', 'x', x, ['F32']);
  requireContiguous('softMax', 'x', x);
  requireArgument(Number.isFinite(factor), 'softMax', 'a finite factor', factor);
  if (mask !== undefined) {
    requireDtype('softMax', 'mask', mask, ['F32', 'F16']);
    requireContiguous('softMax', 'mask', mask);
    const [n, rows, ...lead] = toNe(x.shape);
    const [maskN, maskRows, ...maskLead] = toNe(mask.shape);
    const fits =
      maskN === n && maskRows === rows && maskLead.every((size, axis) => size === 1 || size === lead[axis]);
    requireShape(
      fits,
      'softMax',
      'a mask with the last two sizes of x and leading ones that spread over it',
      { x, mask },
    );
  }
  const sources = mask === undefined ? [x] : [x, mask];
  return x.graph.emit({ op: 'softMax', sources, params: [factor, 0], dtype: 'F32', shape: x.shape });
}

/** Index of the largest element of each row (the last one of equals): F32 [rows, n] gives I32 [rows]. */
export function argmax(x: Tensor): Tensor {
  requireDtype('argmax', 'x', x, ['F32']);
  requireContiguous('argmax', 'x', x);
  requireShape(x.shape.length === 2, 'argmax', 'x [rows, n]', { x });
  return x.graph.emit({ op: 'argmax', sources: [x], dtype: 'I32', shape: [x.shape[0]!] });
}

/** Indices that sort each row: F32 [.., n] gives I32 [.., n]. The order of equal elements is not defined. */
export function argsort(x: Tensor, order: 'ascending' | 'descending'): Tensor {
  requireDtype('argsort', 'x', x, ['F32']);
  requireContiguous('argsort', 'x', x);
  return x.graph.emit({
    op: 'argsort',
    sources: [x],
    params: [order === 'ascending' ? 0 : 1],
    dtype: 'I32',
    shape: x.shape,
  });
}
