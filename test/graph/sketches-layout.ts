import { DTYPES, type Dtype, isQuantized } from '../../src/dtype.js';
import {
  cast,
  concat,
  cont,
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
import { elementCount } from '../../src/graph/shape.js';
import type { OpSketch } from './op-sketch.js';
import * as reference from './reference.js';

const PLAIN: readonly Dtype[] = ['F32', 'F16', 'BF16', 'I32'];
const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16'];
const UNQUANTIZED = DTYPES.filter((dtype) => !isQuantized(dtype));
const same = (dtypes: Readonly<Record<string, Dtype>>) => dtypes.x!;

const RESHAPES: readonly [from: readonly number[], to: readonly number[]][] = [
  [
    [3, 512],
    [2, 3, 256],
  ],
  [
    [2, 3, 256],
    [6, 256],
  ],
  [[1, 256], [256]],
  [[512], [1, 1, 2, 256]],
];

// Whole blocks of every dtype fit these.
const TABLE_SHAPES = [{ x: [5, 768] }, { x: [3, 4, 256] }, { x: [1, 1, 512] }, { x: [2, 3, 4, 256] }];

const SLICES: readonly [axis: number, start: number, end: number][] = [
  [0, 0, 1],
  [-2, 1, 2],
  [-1, 0, 256],
];

/** Layout ops: no arithmetic. */
export const LAYOUT_SKETCHES: readonly OpSketch[] = [
  ...RESHAPES.map(
    ([from, to]): OpSketch => ({
      op: 'reshape',
      title: `to [${to.join(', ')}]`,
      roles: { x: { dtypes: DTYPES, layout: 'contiguous' } },
      shapes: [{ x: from }],
      build: ({ x }) => reshape(x!, to),
      expected: ({ x }) => reference.reshape(x!, to),
      result: same,
    }),
  ),
  ...SLICES.map(
    ([axis, start, end]): OpSketch => ({
      op: 'view',
      title: `slice ${start}..${end} of axis ${axis}`,
      roles: { x: { dtypes: DTYPES, layout: 'rows' } },
      shapes: axis === -2 ? TABLE_SHAPES.filter(({ x }) => x.at(-2)! > 1) : TABLE_SHAPES,
      build: ({ x }) => slice(x!, axis, start, end),
      expected: ({ x }) => reference.slice(x!, axis, start, end),
      result: same,
    }),
  ),
  {
    op: 'view',
    title: 'slice 1..4 of rows that are not blocks',
    roles: { x: { dtypes: UNQUANTIZED, layout: 'rows' } },
    shapes: [{ x: [5] }, { x: [3, 7] }, { x: [1, 4] }, { x: [2, 3, 5] }],
    build: ({ x }) => slice(x!, -1, 1, 4),
    expected: ({ x }) => reference.slice(x!, -1, 1, 4),
    result: same,
  },
  ...[0, -1].map(
    (axis): OpSketch => ({
      op: 'view',
      title: `split of axis ${axis}`,
      roles: { x: { dtypes: UNQUANTIZED, layout: 'rows' } },
      shapes: [{ x: [6] }, { x: [4, 6] }, { x: [2, 3, 2] }],
      build: ({ x }) => splitAxis(x!, axis, 2),
      expected: ({ x }) => {
        const at = axis < 0 ? x!.shape.length - 1 : axis;
        return reference.reshape(x!, x!.shape.toSpliced(at, 1, 2, x!.shape[at]! / 2));
      },
      result: same,
    }),
  ),
  ...[
    [1, 0, 2],
    [0, 1, 2],
  ].map(
    (order): OpSketch => ({
      op: 'permute',
      title: `by [${order.join(', ')}]`,
      roles: { x: { dtypes: DTYPES, layout: 'any' } },
      shapes: [{ x: [3, 2, 256] }, { x: [1, 4, 256] }, { x: [4, 1, 512] }],
      build: ({ x }) => permute(x!, order),
      expected: ({ x }) => reference.permute(x!, order),
      result: same,
    }),
  ),
  ...[
    [2, 0, 1],
    [2, 1, 0],
    [3, 1, 0, 2],
    [1, 2, 3, 0],
  ].map(
    (order): OpSketch => ({
      op: 'permute',
      title: `by [${order.join(', ')}]`,
      roles: { x: { dtypes: UNQUANTIZED, layout: 'any' } },
      shapes: [{ x: [2, 3, 5, 4].slice(0, order.length) }, { x: [1, 3, 1, 2].slice(0, order.length) }],
      build: ({ x }) => permute(x!, order),
      expected: ({ x }) => reference.permute(x!, order),
      result: same,
    }),
  ),
  {
    op: 'transpose',
    roles: { x: { dtypes: UNQUANTIZED, layout: 'any' } },
    shapes: [{ x: [3, 5] }, { x: [1, 5] }, { x: [5, 1] }, { x: [2, 3, 4] }, { x: [2, 1, 3, 2] }],
    build: ({ x }) => transpose(x!),
    expected: ({ x }) => {
      const axes = x!.shape.map((_, axis) => axis);
      return reference.permute(x!, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
    },
    result: same,
  },
  {
    op: 'cont',
    roles: { x: { dtypes: PLAIN, layout: 'any' } },
    shapes: [{ x: [1] }, { x: [3, 7] }, { x: [1, 5] }, { x: [5, 1] }, { x: [2, 3, 5] }, { x: [2, 1, 3, 4] }],
    build: ({ x }) => cont(x!),
    expected: ({ x }) => x!,
    result: same,
  },
  ...FLOATS.map(
    (to): OpSketch => ({
      op: 'cast',
      title: `to ${to}`,
      roles: { x: { dtypes: to === 'F32' ? PLAIN : FLOATS, layout: 'any', values: 'wide' } },
      shapes: [{ x: [7] }, { x: [3, 5] }, { x: [5, 1] }, { x: [2, 3, 4] }, { x: [2, 1, 3, 4] }],
      build: ({ x }) => cast(x!, to),
      expected: ({ x }) => x!,
      result: () => to,
    }),
  ),
  {
    op: 'cast',
    title: 'to I32',
    roles: { x: { dtypes: ['F32', 'I32'], layout: 'any', values: 'wide' } },
    shapes: [{ x: [7] }, { x: [3, 5] }, { x: [2, 3, 4] }],
    build: ({ x }) => cast(x!, 'I32'),
    expected: ({ x }) => x!, //                rounded towards zero, as every value is to I32
    result: () => 'I32',
  },
  {
    op: 'copyInto',
    roles: { x: { dtypes: PLAIN, layout: 'any' }, target: { dtypes: PLAIN, layout: 'any' } },
    pairs: ({ x, target }) => x === target || (x !== 'I32' && target !== 'I32'),
    shapes: [
      { x: [7], target: [7] },
      { x: [3, 5], target: [3, 5] },
      { x: [1, 5], target: [5, 1] },
      { x: [2, 3, 4], target: [4, 6] },
      { x: [4, 6], target: [2, 3, 4] },
      { x: [2, 1, 3, 4], target: [2, 1, 3, 4] },
    ],
    build: ({ x, target }) => copyInto(x!, target!),
    expected: ({ x, target }) => reference.reshape(x!, target!.shape),
    result: ({ target }) => target!,
  },
  ...[0, 1, 2].map(
    (axis): OpSketch => ({
      op: 'concat',
      title: `along axis ${axis}`,
      roles: { a: { dtypes: PLAIN, layout: 'any' }, b: { dtypes: PLAIN, layout: 'any' } },
      pairs: ({ a, b }) => a === b,
      shapes: [
        { a: [2, 3, 5], b: [2, 3, 5].with(axis, 1) },
        { a: [1, 1, 1], b: [1, 1, 1].with(axis, 4) },
        { a: [2, 3, 5, 4], b: [2, 3, 5, 4].with(axis, 3) },
      ],
      build: ({ a, b }) => concat(a!, b!, axis),
      expected: ({ a, b }) => reference.concat(a!, b!, axis),
      result: ({ a }) => a!,
    }),
  ),
  ...[
    [4, 3, 6],
    [2, 4, 3, 6],
  ].map(
    (to): OpSketch => ({
      op: 'repeat',
      title: `to [${to.join(', ')}]`,
      roles: { x: { dtypes: ['F32', 'F16', 'I32'], layout: 'rows' } },
      shapes: [{ x: [6] }, { x: [3, 1] }, { x: [1, 6] }, { x: [4, 1, 6] }, { x: to.with(-1, 1) }, { x: to }],
      build: ({ x }) => repeat(x!, to),
      expected: ({ x }) => reference.repeat(x!, elementCount(x!.shape) === elementCount(to) ? x!.shape : to),
      result: same,
    }),
  ),
  {
    op: 'getRows',
    roles: {
      table: { dtypes: [...PLAIN, ...DTYPES.filter(isQuantized)], layout: 'rows' },
      ids: { dtypes: ['I32'], layout: 'rows', values: { belowSizeOf: 'table', axis: -2 } },
    },
    shapes: [
      { table: [5, 256], ids: [7] },
      { table: [1, 512], ids: [1] },
      { table: [3, 4, 256], ids: [3, 5] },
      { table: [1, 4, 256], ids: [1, 1] },
    ],
    build: ({ table, ids }) => getRows(table!, ids!),
    expected: ({ table, ids }) => reference.getRows(table!, ids!),
    result: ({ table }) => (table === 'I32' ? 'I32' : 'F32'),
  },
  {
    op: 'setRows',
    roles: {
      target: { dtypes: FLOATS, layout: 'contiguous' },
      rows: { dtypes: ['F32'], layout: 'rows' },
      ids: { dtypes: ['I32'], layout: 'contiguous', values: { belowSizeOf: 'target', axis: 0 } },
    },
    shapes: [
      { target: [7, 5], rows: [1, 5], ids: [1] },
      { target: [1, 1], rows: [1, 1], ids: [1] },
      { target: [40, 33], rows: [3, 33], ids: [3] },
    ],
    build: ({ target, rows, ids }) => setRows(target!, rows!, ids!),
    expected: ({ target, rows, ids }) =>
      // Which of two rows wins that go to one place is open: they are written by different threads.
      new Set(ids!.data).size === ids!.data.length ? reference.setRows(target!, rows!, ids!) : undefined,
    result: ({ target }) => target!,
  },
];
