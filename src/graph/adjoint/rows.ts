import { clamp, div, mul, scale, sqrt, sub } from '../ops-arithmetic.js';
import { repeat } from '../ops-layout.js';
import { mean, sumRows } from '../ops-rows.js';
import type { Tensor } from '../tensor.js';
import { plain, positive } from './pieces.js';
import { type BackwardRules, unary } from './rules.js';

/** `(gradient − y · mean(gradient · y)) / √(mean(x²) + eps)`. */
function rmsNormBackward(y: Tensor, gradient: Tensor, x: Tensor, eps: number): Tensor {
  const along = mul(y, mean(mul(gradient, y)));
  return div(sub(gradient, along), sqrt(scale(mean(mul(x, x)), 1, eps)));
}

/** `(gradient − y · Σ(gradient · y)) / ‖x‖`; rows that are shorter than eps are divided by a constant. */
function l2NormBackward(y: Tensor, gradient: Tensor, x: Tensor, eps: number): Tensor {
  const norm = sqrt(sumRows(mul(x, x)));
  const isLong = positive(scale(norm, 1, -eps));
  const along = mul(y, mul(sumRows(mul(gradient, y)), isLong));
  return div(sub(gradient, along), clamp(norm, eps));
}

/** Backward of ops along rows. */
export const ROWS: BackwardRules = {
  mean: unary((_, gradient, x) => repeat(scale(gradient, 1 / x.shape.at(-1)!), x.shape)),
  sumRows: unary((_, gradient, x) => repeat(gradient, x.shape)),
  rmsNorm: unary((node, gradient, x) => rmsNormBackward(node, gradient, plain(x), node.params[0]!)),
  l2Norm: unary((node, gradient, x) => l2NormBackward(node, gradient, plain(x), node.params[0]!)),
  softMax: unary((node, gradient) =>
    scale(mul(node, sub(gradient, sumRows(mul(gradient, node)))), node.params[0]!),
  ),
};
