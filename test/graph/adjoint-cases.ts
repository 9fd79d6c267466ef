/** Ops with operands: what the backward of each is tried on. `torch` is the same in PyTorch, of `x`. */
import { conv1dDepthwise, conv1dGrouped } from '../../src/graph/convolution.js';
import * as arithmetic from '../../src/graph/ops-arithmetic.js';
import * as layout from '../../src/graph/ops-layout.js';
import { im2col, mulMat, mulMatId, rope } from '../../src/graph/ops-products.js';
import * as rows from '../../src/graph/ops-rows.js';
import type { Shape } from '../../src/graph/shape.js';
import type { Tensor } from '../../src/graph/tensor.js';

export interface AdjointCase {
  name: string;
  /** Operands with a gradient, F32, by their shapes. */
  shapes: readonly Shape[];
  /** Operands without one: indices. */
  ids?: { shape: Shape; values: readonly number[] };
  /** What values are: any (default), away from 0 and positive, or with exact zeros among them. */
  values?: 'positive' | 'zeros';
  /** An operand without a gradient: a weight. */
  weight?: Shape;
  build(x: Tensor[], ids: Tensor, weight: Tensor): Tensor;
  /** Of `x` (a list), `ids` and `w`, in Python. */
  torch: string;
}

const { add, clamp, div, gelu, geluErf, mul, scale, silu, sqrt, sub, swiglu } = arithmetic;
const { cast, concat, cont, copy, getRows, permute, repeat, reshape, slice, splitAxis, transpose } = layout;

const one = (name: string, shape: Shape, build: (x: Tensor) => Tensor, torch: string): AdjointCase => ({
  name,
  shapes: [shape],
  build: ([x]) => build(x!),
  torch,
});

const two = (name: string, shapes: Shape[], build: (a: Tensor, b: Tensor) => Tensor, torch: string) => ({
  name,
  shapes,
  build: ([a, b]: Tensor[]) => build(a!, b!),
  torch,
});

export const ADJOINT_CASES: readonly AdjointCase[] = [
  two(
    'add',
    [
      [2, 3, 5],
      [3, 1],
    ],
    add,
    'x[0] + x[1]',
  ),
  two('sub', [[4, 6], [6]], sub, 'x[0] - x[1]'),
  two(
    'mul',
    [
      [2, 3, 5],
      [2, 1, 5],
    ],
    mul,
    'x[0] * x[1]',
  ),
  {
    ...two(
      'div',
      [
        [3, 7],
        [3, 1],
      ],
      div,
      'x[0] / x[1]',
    ),
    values: 'positive',
  },
  one('scale', [3, 5], (x) => scale(x, -1.7, 0.3), '-1.7 * x[0] + 0.3'),
  { ...one('sqrt', [3, 5], sqrt, 'torch.sqrt(x[0])'), values: 'positive' },
  one('clamp', [4, 9], (x) => clamp(x, -0.4, 0.7), 'torch.clamp(x[0], -0.4, 0.7)'),
  { ...one('silu', [4, 9], silu, 'F.silu(x[0])'), values: 'zeros' },
  { ...one('gelu', [4, 9], gelu, 'F.gelu(x[0], approximate="tanh")'), values: 'zeros' },
  { ...one('geluErf', [4, 9], geluErf, 'F.gelu(x[0])'), values: 'zeros' },
  one('swiglu', [4, 10], swiglu, 'F.silu(x[0][:, :5]) * x[0][:, 5:]'),
  one('reshape', [4, 6], (x) => reshape(x, [2, 3, 4]), 'x[0].reshape(2, 3, 4)'),
  one('view', [4, 6, 3], (x) => cont(slice(x, 1, 2, 5)), 'x[0][:, 2:5]'),
  one('view', [4, 6], (x) => cont(slice(x, -1, 1, 3)), 'x[0][:, 1:3]'),
  one('view', [4, 6], (x) => permute(splitAxis(x, 1, 2), [1, 0, 2]), 'x[0].view(4, 2, 3).permute(1, 0, 2)'),
  one('permute', [2, 3, 4, 5], (x) => permute(x, [2, 0, 3, 1]), 'x[0].permute(2, 0, 3, 1)'),
  one('transpose', [3, 4, 5], transpose, 'x[0].mT'),
  one('cont', [3, 4], (x) => copy(transpose(x)), 'x[0].mT'),
  one('cast', [3, 4], (x) => cast(cast(x, 'F16'), 'F32'), 'x[0] * 1'),
  two(
    'concat',
    [
      [2, 3, 4],
      [2, 2, 4],
    ],
    (a, b) => concat(a, b, 1),
    'torch.cat([x[0], x[1]], 1)',
  ),
  one('repeat', [3, 1, 4], (x) => repeat(x, [2, 3, 5, 4]), 'x[0].expand(2, 3, 5, 4)'),
  {
    name: 'getRows',
    shapes: [[4, 3]],
    ids: { shape: [5], values: [1, 3, 1, 0, 1] },
    build: ([x], ids) => getRows(x!, ids),
    torch: 'x[0][ids]',
  },
  {
    name: 'getRows',
    shapes: [[2, 4, 1]],
    ids: { shape: [2, 3], values: [1, 3, 1, 0, 2, 2] },
    build: ([x], ids) => getRows(x!, ids),
    torch: 'torch.gather(x[0], 1, ids[:, :, None])',
  },
  one('mean', [3, 4, 5], rows.mean, 'x[0].mean(-1, keepdim=True)'),
  one('sumRows', [3, 4, 5], rows.sumRows, 'x[0].sum(-1, keepdim=True)'),
  one(
    'rmsNorm',
    [3, 4, 16],
    (x) => rows.rmsNorm(x, 1e-2),
    'x[0] * torch.rsqrt(x[0].pow(2).mean(-1, keepdim=True) + 1e-2)',
  ),
  one('l2Norm', [3, 16], (x) => rows.l2Norm(x, 1e-6), 'F.normalize(x[0], dim=-1, eps=1e-6)'),
  one('l2Norm', [3, 4], (x) => rows.l2Norm(x, 100), 'F.normalize(x[0], dim=-1, eps=100)'),
  one('softMax', [2, 5, 5], (x) => rows.softMax(x, 0.7), 'torch.softmax(0.7 * x[0], -1)'),
  two(
    'mulMat',
    [
      [5, 64],
      [3, 64],
    ],
    mulMat,
    'x[1] @ x[0].mT',
  ),
  {
    name: 'mulMatId',
    shapes: [[4, 64]],
    ids: { shape: [4], values: [1, 2, 0, 1] },
    weight: [3, 5, 64],
    build: ([x], ids, weight) => mulMatId(weight, x!, ids),
    torch: 'torch.einsum("nij,nj->ni", w[ids], x[0])',
  },
  {
    name: 'softMax',
    shapes: [[2, 3, 5]],
    weight: [3, 5],
    build: ([x], _, weight) => rows.softMax(x!, 0.7, weight),
    torch: 'torch.softmax(0.7 * x[0] + w, -1)',
  },
  two(
    'mulMat',
    [
      [4, 6],
      [3, 6],
    ],
    mulMat,
    'x[1] @ x[0].mT',
  ),
  two('mulMat', [[4, 6], [6]], mulMat, 'x[1] @ x[0].mT'),
  two(
    'mulMat',
    [
      [2, 2, 4, 6],
      [2, 6, 3, 6],
    ],
    mulMat,
    'x[1] @ x[0].repeat_interleave(3, 1).mT',
  ),
  two(
    'mulMat',
    [
      [2, 4, 6],
      [4, 3, 6],
    ],
    (a, b) => mulMat(a, b),
    'x[1] @ x[0].repeat_interleave(2, 0).mT',
  ),
  {
    name: 'mulMatId',
    shapes: [[4, 6]],
    ids: { shape: [4, 2], values: [1, 2, 0, 1, 2, 0, 1, 0] },
    weight: [3, 5, 6],
    build: ([x], ids, weight) => mulMatId(weight, x!, ids),
    torch: 'torch.einsum("nmij,nj->nmi", w[ids], x[0])',
  },
  {
    name: 'mulMatId',
    shapes: [[4, 2, 6]],
    ids: { shape: [4, 2], values: [1, 2, 0, 1, 2, 0, 1, 0] },
    weight: [3, 5, 6],
    build: ([x], ids, weight) => mulMatId(weight, x!, ids),
    torch: 'torch.einsum("nmij,nmj->nmi", w[ids], x[0])',
  },
  {
    name: 'rope',
    shapes: [[3, 2, 8]],
    ids: { shape: [3], values: [0, 5, 11] },
    build: ([x], ids) => rope(x!, ids, 6, 100),
    torch: 'rotated(x[0], ids, 6, 100)',
  },
  {
    name: 'im2col',
    shapes: [[2, 3, 7]],
    weight: [5, 3, 2],
    build: ([x], _, weight) => im2col(weight, x!, 'F32'),
    torch: 'x[0].unfold(2, 2, 1).permute(0, 2, 1, 3).reshape(2, 6, 6)',
  },
  {
    name: 'mul', // the depthwise convolution
    shapes: [[2, 9, 6], [6]],
    weight: [6, 1, 3],
    build: ([x, bias], _, weight) => conv1dDepthwise(x!, weight, bias!),
    torch: 'F.conv1d(x[0].mT, w, x[1], groups=6).mT',
  },
  {
    name: 'im2col', // the grouped convolution
    shapes: [[2, 9, 6], [6]],
    weight: [6, 3, 2],
    build: ([x, bias], _, weight) => conv1dGrouped(x!, weight, bias!, { groups: 2 }),
    torch: 'F.conv1d(x[0].mT, w, x[1], groups=2).mT',
  },
];
