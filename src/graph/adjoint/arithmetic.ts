import { add, div, geluErf, mul, scale, silu, sub } from '../ops-arithmetic.js';
import { concat, cont, slice } from '../ops-layout.js';
import type { Tensor } from '../tensor.js';
import { expOfNegative, factorOf, nonZero, plain, sigmoid, sumTo } from './pieces.js';
import { type BackwardRule, type BackwardRules, unary } from './rules.js';

/** For ops of two sources, the second of which is spread over the first. */
function binary(
  first: (gradient: Tensor, b: Tensor) => Tensor,
  second: (gradient: Tensor, a: Tensor, b: Tensor, node: Tensor) => Tensor,
): BackwardRule {
  return (node, gradient, isAsked) => {
    const [a, b] = node.sources as [Tensor, Tensor];
    return [
      isAsked(a) ? first(gradient, plain(b)) : undefined,
      isAsked(b) ? sumTo(second(gradient, plain(a), plain(b), plain(node)), b.shape) : undefined,
    ];
  };
}

/** `silu'`: σ(x) · (1 + x · (1 − σ(x))). */
function siluSlope(x: Tensor): Tensor {
  const part = sigmoid(x);
  return mul(part, scale(mul(x, scale(part, -1, 1)), 1, 1));
}

/** The slope of the tanh approximation: ½ (1 + tanh u) is σ(2u). */
function geluSlope(x: Tensor): Tensor {
  const [linear, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
  const square = mul(x, x);
  const inner = mul(x, scale(square, 2 * linear * cubic, 2 * linear));
  const part = sigmoid(inner);
  const slope = scale(square, 6 * linear * cubic, 2 * linear);
  return add(part, mul(mul(x, mul(part, scale(part, -1, 1))), slope));
}

/** Φ(x) + x · φ(x). */
function geluErfSlope(x: Tensor): Tensor {
  const cumulative = factorOf(geluErf, x, 0.5, 0.8413447460685429);
  const density = scale(expOfNegative(scale(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return add(cumulative, mul(x, density));
}

function swigluBackward(gradient: Tensor, gateUp: Tensor): Tensor {
  const width = gateUp.shape.at(-1)! / 2;
  const gate = cont(slice(gateUp, -1, 0, width));
  const up = cont(slice(gateUp, -1, width, 2 * width));
  return concat(mul(mul(gradient, up), siluSlope(gate)), mul(gradient, silu(gate)), -1);
}

/** Backward of arithmetic, element by element. */
export const ARITHMETIC: BackwardRules = {
  add: binary(
    (gradient) => gradient,
    (gradient) => gradient,
  ),
  sub: binary(
    (gradient) => gradient,
    (gradient) => scale(gradient, -1),
  ),
  mul: binary(mul, mul),
  div: binary(div, (gradient, _, b, node) => scale(div(mul(gradient, node), b), -1)),
  scale: unary(({ params }, gradient) => scale(gradient, params[0]!)),
  sqrt: unary((node, gradient) => div(scale(gradient, 0.5), plain(node))),
  // Where a value is clamped it differs from the result; at the bound itself the slope is 1, as in PyTorch.
  // ggml clamps in place: what the source was before is what the source is a copy of.
  clamp: unary((node, gradient, copied) =>
    mul(gradient, scale(nonZero(sub(plain(copied.sources[0]!), node)), -1, 1)),
  ),
  silu: unary((_, gradient, x) => mul(gradient, siluSlope(plain(x)))),
  gelu: unary((_, gradient, x) => mul(gradient, geluSlope(plain(x)))),
  geluErf: unary((_, gradient, x) => mul(gradient, geluErfSlope(plain(x)))),
  swiglu: unary((_, gradient, x) => swigluBackward(gradient, plain(x))),
};
