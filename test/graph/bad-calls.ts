import type { Dtype } from '../../src/dtype.js';
import { attentionWeights } from '../../src/graph/attention.js';
import { conv1dDepthwise, conv1dGrouped } from '../../src/graph/convolution.js';
import type { OpName } from '../../src/graph/ops.js';
import { add, clamp, div, mul, scale, sub, swiglu } from '../../src/graph/ops-arithmetic.js';
import {
  concat,
  copyInto,
  getRows,
  permute,
  repeat,
  reshape,
  setRows,
  slice,
  splitAxis,
  transpose,
} from '../../src/graph/ops-layout.js';
import { im2col, mulMat, mulMatId, rope, ssmConv } from '../../src/graph/ops-products.js';
import { argmax, l2Norm, rmsNorm, softMax } from '../../src/graph/ops-rows.js';
import { ropeFromTables } from '../../src/graph/rotary.js';
import type { Shape } from '../../src/graph/shape.js';
import type { Tensor } from '../../src/graph/tensor.js';

type Make = (name: string, shape: Shape, dtype?: Dtype) => Tensor;

/** A call that a rule must reject: what is wrong, the op that says so, the call. */
export type BadCall = readonly [title: string, op: OpName | 'conv1dGrouped', build: (make: Make) => unknown];

/** Operands whose shapes do not fit: `SHAPE_MISMATCH`. */
export const BAD_SHAPES: readonly BadCall[] = [
  ['another element count', 'reshape', (t) => reshape(t('x', [2, 3]), [7])],
  ['half a block per row', 'reshape', (t) => reshape(t('x', [2, 32], 'Q8_0'), [4, 16])],
  ['no axes', 'reshape', (t) => reshape(t('x', [1]), [])],
  ['a split of four axes', 'view', (t) => splitAxis(t('x', [2, 2, 2, 2]), 0, 2)],
  ['one axis', 'transpose', (t) => transpose(t('x', [3]))],
  ['fewer elements', 'copyInto', (t) => copyInto(t('x', [2, 3]), t('target', [7]))],
  ['another size beside the axis', 'concat', (t) => concat(t('a', [2, 3]), t('b', [2, 4]), 0)],
  ['another rank', 'concat', (t) => concat(t('a', [2, 3]), t('b', [3]), 0)],
  ['a size that does not spread', 'repeat', (t) => repeat(t('x', [2]), [4, 4])],
  ['a smaller target', 'repeat', (t) => repeat(t('x', [4, 3]), [3])],
  ['a batch without ids for it', 'getRows', (t) => getRows(t('table', [2, 5, 3]), t('ids', [4], 'I32'))],
  ['another batch', 'getRows', (t) => getRows(t('table', [2, 5, 3]), t('ids', [3, 4], 'I32'))],
  ['a table of one axis', 'getRows', (t) => getRows(t('table', [5]), t('ids', [2], 'I32'))],
  ['four axes', 'getRows', (t) => getRows(t('table', [2, 2, 5, 3]), t('ids', [2, 2, 1], 'I32'))],
  ['another width', 'setRows', (t) => setRows(t('target', [4, 3]), t('rows', [2, 5]), t('ids', [2], 'I32'))],
  ['more ids', 'setRows', (t) => setRows(t('target', [4, 3]), t('rows', [2, 3]), t('ids', [3], 'I32'))],
  ['a batch', 'setRows', (t) => setRows(t('target', [1, 4, 3]), t('rows', [2, 3]), t('ids', [2], 'I32'))],
  ['b larger than a', 'add', (t) => add(t('a', [1, 3]), t('b', [2, 3]))],
  ['another size', 'sub', (t) => sub(t('a', [2, 4]), t('b', [2, 2]))],
  ['more axes in b', 'mul', (t) => mul(t('a', [3]), t('b', [2, 3]))],
  ['another leading size', 'div', (t) => div(t('a', [2, 3]), t('b', [3, 1]))],
  ['rows of odd length', 'swiglu', (t) => swiglu(t('gateUp', [2, 3]))],
  ['a mask of other columns', 'softMax', (t) => softMax(t('x', [2, 3]), 1, t('mask', [2, 4]))],
  ['a mask of more rows', 'softMax', (t) => softMax(t('x', [2, 3]), 1, t('mask', [3, 3]))],
  ['a mask that does not spread', 'softMax', (t) => softMax(t('x', [4, 2, 3]), 1, t('mask', [2, 2, 3]))],
  ['a mask with a batch that x lacks', 'softMax', (t) => softMax(t('x', [2, 3]), 1, t('mask', [2, 2, 3]))],
  ['three axes', 'argmax', (t) => argmax(t('x', [1, 2, 3]))],
  ['one axis', 'argmax', (t) => argmax(t('x', [3]))],
  ['other inner sizes', 'mulMat', (t) => mulMat(t('a', [5, 7]), t('b', [3, 8]))],
  ['a vector as a', 'mulMat', (t) => mulMat(t('a', [7]), t('b', [3, 7]))],
  ['leading sizes that are no multiples', 'mulMat', (t) => mulMat(t('a', [2, 5, 7]), t('b', [3, 3, 7]))],
  ['fewer matrices in b', 'mulMat', (t) => mulMat(t('a', [2, 5, 7]), t('b', [3, 7]))],
  [
    'other inner sizes',
    'mulMatId',
    (t) => mulMatId(t('experts', [2, 5, 7]), t('b', [3, 8]), t('ids', [3], 'I32')),
  ],
  ['fewer ids', 'mulMatId', (t) => mulMatId(t('experts', [2, 5, 7]), t('b', [3, 7]), t('ids', [2], 'I32'))],
  [
    'one expert without its axis',
    'mulMatId',
    (t) => mulMatId(t('experts', [5, 7]), t('b', [3, 7]), t('ids', [3], 'I32')),
  ],
  ['other channels', 'im2col', (t) => im2col(t('kernel', [3, 4, 2]), t('x', [1, 5, 7]), 'F32')],
  ['too few samples', 'im2col', (t) => im2col(t('kernel', [3, 5, 4]), t('x', [1, 5, 3]), 'F32')],
  ['no batch axis', 'im2col', (t) => im2col(t('kernel', [3, 5, 2]), t('x', [5, 7]), 'F32')],
  ['other channels', 'ssmConv', (t) => ssmConv(t('x', [1, 5, 7]), t('kernel', [4, 2]))],
  ['too few samples', 'ssmConv', (t) => ssmConv(t('x', [1, 5, 2]), t('kernel', [5, 3]))],
  ['no batch axis', 'ssmConv', (t) => ssmConv(t('x', [5, 7]), t('kernel', [5, 2]))],
  ['fewer positions', 'rope', (t) => rope(t('x', [3, 2, 8]), t('positions', [2], 'I32'), 4, 1e4)],
  ['no head axis', 'rope', (t) => rope(t('x', [3, 8]), t('positions', [3], 'I32'), 4, 1e4)],
  [
    'tables of other tokens',
    'rope',
    (t) => ropeFromTables(t('x', [3, 2, 8]), t('cos', [2, 1, 8]), t('sin', [2, 1, 8]), 4),
  ],
  [
    'a weight of other channels',
    'im2col',
    (t) => conv1dGrouped(t('x', [5, 4]), t('weight', [6, 2, 2]), t('bias', [4]), { groups: 2 }),
  ],
  [
    'a weight of another group width',
    'im2col',
    (t) => conv1dGrouped(t('x', [5, 4]), t('weight', [4, 3, 2]), t('bias', [4]), { groups: 2 }),
  ],
  [
    'too few samples',
    'im2col',
    (t) => conv1dGrouped(t('x', [1, 4]), t('weight', [4, 2, 2]), t('bias', [4]), { groups: 2 }),
  ],
  [
    'a weight that is not depthwise',
    'mul',
    (t) => conv1dDepthwise(t('x', [5, 4]), t('weight', [4, 2, 2]), t('bias', [4])),
  ],
  [
    'a mask of another span',
    'softMax',
    (t) => attentionWeights(t('query', [3, 4, 8]), t('key', [5, 2, 8]), t('mask', [3, 4]), 1),
  ],
];

/** Scalar arguments out of range: `BAD_ARGUMENT`. */
export const BAD_ARGUMENTS: readonly BadCall[] = [
  ['an axis beyond the last', 'view', (t) => slice(t('x', [2, 3]), 2, 0, 1)],
  ['an axis before the first', 'view', (t) => slice(t('x', [2, 3]), -3, 0, 1)],
  ['a fractional axis', 'view', (t) => slice(t('x', [2, 3]), 0.5, 0, 1)],
  ['an end beyond the size', 'view', (t) => slice(t('x', [2, 3]), 1, 0, 4)],
  ['a negative start', 'view', (t) => slice(t('x', [2, 3]), 1, -1, 2)],
  ['an empty range', 'view', (t) => slice(t('x', [2, 3]), 1, 2, 2)],
  ['a fractional start', 'view', (t) => slice(t('x', [2, 3]), 1, 0.5, 2)],
  ['NaN', 'view', (t) => slice(t('x', [2, 3]), 1, Number.NaN, 2)],
  ['half a block', 'view', (t) => slice(t('x', [2, 64], 'Q8_0'), 1, 16, 64)],
  ['no divisor', 'view', (t) => splitAxis(t('x', [2, 6]), 1, 4)],
  ['a split into 0', 'view', (t) => splitAxis(t('x', [2, 6]), 1, 0)],
  ['a split of quantised rows', 'view', (t) => splitAxis(t('x', [2, 64], 'Q8_0'), 1, 2)],
  ['a turn of quantised rows', 'permute', (t) => permute(t('x', [2, 32], 'Q8_0'), [1, 0])],
  ['an order of other axes', 'permute', (t) => permute(t('x', [2, 3]), [0, 2])],
  ['an order with an axis twice', 'permute', (t) => permute(t('x', [2, 3]), [1, 1])],
  ['an order that is too short', 'permute', (t) => permute(t('x', [2, 3, 4]), [1, 0])],
  ['an axis beyond the last', 'concat', (t) => concat(t('a', [2, 3]), t('b', [2, 3]), 2)],
  ['a factor that is NaN', 'scale', (t) => scale(t('x', [2]), Number.NaN)],
  ['an infinite bias', 'scale', (t) => scale(t('x', [2]), 1, Number.POSITIVE_INFINITY)],
  ['an infinite bound', 'clamp', (t) => clamp(t('x', [2]), Number.NEGATIVE_INFINITY)],
  ['a negative epsilon', 'rmsNorm', (t) => rmsNorm(t('x', [2]), -1e-6)],
  ['an epsilon that is NaN', 'l2Norm', (t) => l2Norm(t('x', [2]), Number.NaN)],
  ['an infinite factor', 'softMax', (t) => softMax(t('x', [2, 2]), Number.POSITIVE_INFINITY)],
  ['patches in BF16', 'im2col', (t) => im2col(t('kernel', [3, 5, 2]), t('x', [1, 5, 7]), 'BF16' as 'F16')],
  ['odd dims', 'rope', (t) => rope(t('x', [3, 2, 8]), t('positions', [3], 'I32'), 3, 1e4)],
  ['dims beyond the head', 'rope', (t) => rope(t('x', [3, 2, 8]), t('positions', [3], 'I32'), 10, 1e4)],
  ['no dims', 'rope', (t) => rope(t('x', [3, 2, 8]), t('positions', [3], 'I32'), 0, 1e4)],
  ['a base of 0', 'rope', (t) => rope(t('x', [3, 2, 8]), t('positions', [3], 'I32'), 4, 0)],
  [
    'groups that do not divide',
    'conv1dGrouped',
    (t) => conv1dGrouped(t('x', [5, 4]), t('weight', [4, 2, 2]), t('bias', [4]), { groups: 3 }),
  ],
  [
    'no groups',
    'conv1dGrouped',
    (t) => conv1dGrouped(t('x', [5, 4]), t('weight', [4, 2, 2]), t('bias', [4]), { groups: 0 }),
  ],
];
