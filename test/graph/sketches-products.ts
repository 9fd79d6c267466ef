import { DTYPES, type Dtype, isQuantized } from '../../src/dtype.js';
import { im2col, mulMat, mulMatId, rope, ssmConv } from '../../src/graph/ops-products.js';
import type { OpSketch, Role } from './op-sketch.js';
import * as reference from './reference-products.js';

const HALVES: readonly Dtype[] = ['F16', 'BF16'];
const QUANTIZED = DTYPES.filter(isQuantized);
const MATRICES: readonly Dtype[] = ['F32', ...HALVES, ...QUANTIZED];
const FEW_BITS: readonly Dtype[] = [
  'IQ1_S',
  'IQ1_M',
  'IQ2_XXS',
  'IQ2_XS',
  'IQ2_S',
  'TQ1_0',
  'TQ2_0',
  'Q1_0',
  'Q2_0',
];
const F32: Role = { dtypes: ['F32'], layout: 'contiguous' };
const IDS: Role = { dtypes: ['I32'], layout: 'contiguous' };

// The rounding of activations to Q8 is in the reference. What is left: types that store a minimum per block
// multiply it with a sum of activations and subtract large numbers, and Q4_1 and Q5_1 keep that sum in F16.
// The weights of one and two bits are all of one size: in a product of one row alone the terms cancel to a
// hundredth of their sum, and the roundings of its F32 sum stay.
function minimumTolerance(dtype: Dtype): number | undefined {
  if (FEW_BITS.includes(dtype)) return 1e-11;
  if (dtype === 'Q4_1' || dtype === 'Q5_1') return 1e-4;
  return dtype === 'Q2_K' || dtype === 'Q4_K' || dtype === 'Q5_K' ? 1e-11 : undefined;
}

/** Products, convolutions and the rotary embedding. */
export const PRODUCT_SKETCHES: readonly OpSketch[] = [
  {
    op: 'mulMat',
    roles: { a: { dtypes: MATRICES, layout: 'rows' }, b: { dtypes: ['F32', ...HALVES], layout: 'rows' } },
    pairs: ({ a, b }) => b === 'F32' || a === b,
    shapes: [
      { a: [5, 256], b: [3, 256] },
      { a: [1, 512], b: [1, 512] },
      { a: [5, 256], b: [256] },
      { a: [7, 256], b: [2, 3, 256] },
      { a: [2, 5, 256], b: [4, 3, 256] },
      { a: [1, 2, 5, 256], b: [3, 4, 1, 256] },
    ],
    build: ({ a, b }) => mulMat(a!, b!),
    expected: ({ a, b }, dtypes) => reference.mulMat(a!, b!, dtypes.a!),
    tolerance: ({ a }) => minimumTolerance(a!),
  },
  {
    op: 'mulMat',
    title: 'with rows that are not blocks',
    roles: {
      a: { dtypes: ['F32', ...HALVES], layout: 'rows' },
      b: { dtypes: ['F32', ...HALVES], layout: 'rows' },
    },
    pairs: ({ a, b }) => b === 'F32' || a === b,
    shapes: [
      { a: [1, 1], b: [1, 1] },
      { a: [5, 7], b: [3, 7] },
      { a: [5, 1], b: [2, 1] },
      { a: [3, 5, 33], b: [3, 17, 33] },
      { a: [2, 2, 3, 5], b: [2, 4, 1, 5] },
    ],
    build: ({ a, b }) => mulMat(a!, b!),
    expected: ({ a, b }, dtypes) => reference.mulMat(a!, b!, dtypes.a!),
  },
  {
    op: 'mulMatId',
    roles: {
      experts: { dtypes: MATRICES, layout: 'contiguous' },
      b: F32,
      ids: { ...IDS, values: { belowSizeOf: 'experts', axis: 0 } },
    },
    shapes: [
      { experts: [4, 5, 256], b: [7, 256], ids: [7] },
      { experts: [1, 3, 256], b: [1, 256], ids: [1] },
      { experts: [17, 1, 512], b: [2, 512], ids: [2] },
    ],
    build: ({ experts, b, ids }) => mulMatId(experts!, b!, ids!),
    expected: ({ experts, b, ids }, dtypes) => reference.mulMatId(experts!, b!, ids!, dtypes.experts!),
    tolerance: ({ experts }) => minimumTolerance(experts!),
  },
  {
    op: 'mulMatId',
    title: 'with rows that are not blocks',
    roles: {
      experts: { dtypes: ['F32', ...HALVES], layout: 'contiguous' },
      b: F32,
      ids: { ...IDS, values: { belowSizeOf: 'experts', axis: 0 } },
    },
    shapes: [
      { experts: [3, 5, 7], b: [9, 7], ids: [9] },
      { experts: [2, 1, 1], b: [1, 1], ids: [1] },
    ],
    build: ({ experts, b, ids }) => mulMatId(experts!, b!, ids!),
    expected: ({ experts, b, ids }, dtypes) => reference.mulMatId(experts!, b!, ids!, dtypes.experts!),
  },
  ...(['F32', 'F16'] as const).map(
    (dtype): OpSketch => ({
      op: 'im2col',
      title: `to ${dtype}`,
      roles: { kernel: { dtypes: ['F32', ...HALVES], layout: 'any' }, x: F32 },
      shapes: [
        { kernel: [3, 5, 2], x: [2, 5, 7] },
        { kernel: [1, 1, 1], x: [1, 1, 1] },
        { kernel: [2, 4, 3], x: [1, 4, 3] },
        { kernel: [4, 1, 4], x: [3, 1, 9] },
      ],
      build: ({ kernel, x }) => im2col(kernel!, x!, dtype),
      expected: ({ kernel, x }) => reference.im2col(kernel!, x!, dtype),
      result: () => dtype,
    }),
  ),
  {
    op: 'ssmConv',
    roles: { x: F32, kernel: F32 },
    shapes: [
      { x: [2, 5, 7], kernel: [5, 2] },
      { x: [1, 1, 1], kernel: [1, 1] },
      { x: [1, 4, 3], kernel: [4, 3] },
      { x: [3, 33, 9], kernel: [33, 4] },
    ],
    build: ({ x, kernel }) => ssmConv(x!, kernel!),
    expected: ({ x, kernel }) => reference.ssmConv(x!, kernel!),
  },
  ...(
    [
      [2, 10000],
      [8, 10000],
      [6, 5e6],
    ] as const
  ).map(
    ([dims, base]): OpSketch => ({
      op: 'rope',
      title: `of ${dims} dims, base ${base}`,
      roles: {
        x: { dtypes: ['F32', 'F16'], layout: 'rows' },
        positions: { ...IDS, values: 'positions' },
      },
      shapes: [
        { x: [7, 3, 8], positions: [7] },
        { x: [1, 1, 8], positions: [1] },
        { x: [5, 2, 12], positions: [5] },
      ],
      build: ({ x, positions }) => rope(x!, positions!, dims, base),
      expected: ({ x, positions }) =>
        reference.rope(x!, Array.from(positions!.data), dims, reference.ropeAngle(dims, base)),
      result: ({ x }) => x!,
      // ggml multiplies angles up in F32: positions up to 27 are off by up to 1e-5. An F16 result may round
      // to the neighbour (see the activations).
      tolerance: ({ x }) => (x === 'F16' ? 2 ** -20 : 1e-10),
    }),
  ),
];
