import { add, mul } from './ops-arithmetic.js';
import { cast, cont, permute, reshape, slice, transpose } from './ops-layout.js';
import { im2col, mulMat } from './ops-products.js';
import { requireArgument, requireShape } from './rules.js';
import type { Tensor } from './tensor.js';

/** How a convolution samples its input. */
export interface Conv1dOptions {
  /** Number of channel groups. */
  groups: number;
  /** Dtype of the patches and, with it, of the products: F32 (default) or F16, as ggml's own `conv_1d` does. */
  im2col?: 'F32' | 'F16';
}

/**
 * Grouped one-dimensional convolution without padding, stride 1, all groups in one batched matmul: `x` F32 [time, channels], `weight` [channels, channels / groups, size] (PyTorch's
 * `nn.Conv1d` layout), `bias` F32 [channels], gives F32 [time − size + 1, channels]. The weight is brought to the dtype of the patches, which keeps BF16 and F16 values exact in F32.
 */
export function conv1dGrouped(x: Tensor, weight: Tensor, bias: Tensor, options: Conv1dOptions): Tensor {
  const { groups, im2col: dtype = 'F32' } = options;
  const [time, channels] = x.shape as [number, number];
  requireShape(
    x.shape.length === 2 && weight.shape.length === 3,
    'im2col',
    'x [time, channels], weight [channels, channels / groups, size]',
    { x, weight },
  );
  requireArgument(
    Number.isInteger(groups) && groups > 0 && channels % groups === 0,
    'conv1dGrouped',
    `groups that divide ${channels} channels`,
    groups,
  );
  const width = channels / groups;
  requireShape(
    weight.shape[0] === channels && weight.shape[1] === width,
    'im2col',
    `a weight [${channels}, ${width}, size]`,
    { x, weight },
  );
  const size = weight.shape[2]!;
  const samples = reshape(cont(transpose(x)), [groups, width, time]); //               groups, width, time
  const patches = im2col(weight, samples, dtype); //                                   groups, time', width·size
  const kernel = cast(reshape(weight, [groups, width, width * size]), dtype); //       groups, width, width·size
  const products = cont(permute(mulMat(kernel, patches), [1, 0, 2])); //               time', groups, width
  return add(reshape(products, [time - size + 1, channels]), bias); //                 time', channels
}

/**
 * Depthwise one-dimensional convolution without padding, stride 1: `x` F32 [time, channels], `weight` F32 [channels, 1, size], `bias` F32 [channels], gives F32
 * [time − size + 1, channels]. Built from products and sums of shifted views, which every backend runs (CUDA's `ssm_conv` has no size 2).
 */
export function conv1dDepthwise(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const [time, channels] = x.shape as [number, number];
  requireShape(
    x.shape.length === 2 && weight.shape.length === 3,
    'mul',
    'x [time, channels], weight [channels, 1, size]',
    { x, weight },
  );
  requireShape(
    weight.shape[0] === channels && weight.shape[1] === 1,
    'mul',
    `a weight [${channels}, 1, size]`,
    { x, weight },
  );
  const size = weight.shape[2]!;
  requireShape(time >= size, 'mul', `at least ${size} samples`, { x, weight });
  const taps = cont(transpose(reshape(weight, [channels, size]))); //                  size, channels
  let sum: Tensor | undefined;
  for (let tap = 0; tap < size; tap++) {
    const product = mul(slice(x, 0, tap, time - size + 1 + tap), slice(taps, 0, tap, tap + 1)); // time', channels
    sum = sum === undefined ? product : add(sum, product);
  }
  return add(sum!, bias); //                                                           time', channels
}
