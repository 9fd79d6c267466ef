import { add, mul } from './ops-arithmetic.js';
import { cast, cont, permute, reshape, slice, splitAxis, transpose } from './ops-layout.js';
import { im2col, mulMat } from './ops-products.js';
import { requireArgument, requireShape } from './rules.js';
import type { Tensor } from './tensor.js';

/** How a convolution samples its input. */
export interface Conv1dOptions {
  /** Number of channel groups. */
  groups: number;
  /** Dtype that the patches are rounded to: F32 (default), or F16 as in ggml's own `conv_1d`. */
  im2col?: 'F32' | 'F16';
  /**
   * Dtype that the weight is rounded to; default F32. With F16 patches and an F16 weight the products are
   * ggml's F16 ones, otherwise F32.
   */
  weight?: 'F32' | 'F16' | 'BF16';
}

/**
 * Grouped one-dimensional convolution without padding, stride 1, all groups in one batched matmul: `x` F32
 * [.., time, channels] (`..` is nothing or a batch axis), `weight` [channels, channels / groups, size]
 * (PyTorch's `nn.Conv1d` layout), `bias` F32 [channels], gives F32 [.., time − size + 1, channels]. BF16 and
 * F16 weights are exact in F32.
 */
export function conv1dGrouped(x: Tensor, weight: Tensor, bias: Tensor, options: Conv1dOptions): Tensor {
  const { groups, im2col: patchDtype = 'F32', weight: weightDtype = 'F32' } = options;
  const { batch, time, channels, size, lead } = sizes(x, weight);
  requireArgument(
    Number.isInteger(groups) && groups > 0 && channels % groups === 0,
    'conv1dGrouped',
    `groups that divide ${channels} channels`,
    groups,
  );
  const width = channels / groups;
  requireShape(weight.shape[1] === width, 'im2col', `a weight [${channels}, ${width}, size]`, { x, weight });
  const samples = time - size + 1;
  const byGroup = splitAxis(reshape(x, [batch, time, channels]), 2, groups); //                      batch, time, groups, width
  const series = reshape(cont(permute(byGroup, [2, 0, 3, 1])), [groups * batch, width, time]); //    groups·batch, width, time
  const half = patchDtype === 'F16' && weightDtype === 'F16';
  const sampled = im2col(weight, series, patchDtype);
  const patches = reshape(half ? sampled : cast(sampled, 'F32'), [groups, batch, samples, width * size]);
  const rounded = weightDtype === 'F32' ? weight : cast(cast(weight, 'F32'), weightDtype);
  const kernel = cast(reshape(rounded, [groups, 1, width, width * size]), half ? 'F16' : 'F32'); //                  groups, 1, width, width·size
  const products = cont(permute(mulMat(kernel, patches), [1, 2, 0, 3])); //                          batch, time', groups, width
  return add(reshape(products, [...lead, samples, channels]), bias); //                              .., time', channels
}

/**
 * Depthwise one-dimensional convolution without padding, stride 1: `x` F32 [.., time, channels] (`..` is
 * nothing or a batch axis), `weight` F32 [channels, 1, size], `bias` F32 [channels], gives F32 [.., time −
 * size + 1, channels]. Built from products and sums of shifted views, which every backend runs (CUDA's
 * `ssm_conv` has no size 2).
 */
export function conv1dDepthwise(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const { time, channels, size } = sizes(x, weight);
  requireShape(weight.shape[1] === 1, 'mul', `a weight [${channels}, 1, size]`, { x, weight });
  const taps = cont(transpose(reshape(weight, [channels, size]))); //                                size, channels
  const product = (tap: number) =>
    mul(slice(x, -2, tap, time - size + 1 + tap), reshape(slice(taps, 0, tap, tap + 1), [channels]));
  let sum = product(0); //                                                                           .., time', channels
  for (let tap = 1; tap < size; tap++) sum = add(sum, product(tap));
  return add(sum, bias);
}

function sizes(x: Tensor, weight: Tensor) {
  requireShape(
    (x.shape.length === 2 || x.shape.length === 3) && weight.shape.length === 3,
    'im2col',
    'x [time, channels] or [batch, time, channels], weight [channels, channels / groups, size]',
    { x, weight },
  );
  const lead = x.shape.slice(0, -2);
  const [time, channels] = x.shape.slice(-2) as [number, number];
  const size = weight.shape[2]!;
  requireShape(weight.shape[0] === channels, 'im2col', `a weight of ${channels} channels`, { x, weight });
  requireShape(time >= size, 'im2col', `at least ${size} samples`, { x, weight });
  return { lead, batch: lead[0] ?? 1, time, channels, size };
}
