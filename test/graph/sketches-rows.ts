import { argmax, argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from '../../src/graph/ops-rows.js';
import type { OpSketch, Role } from './op-sketch.js';
import * as reference from './reference.js';

const ROWS: Role = { dtypes: ['F32'], layout: 'rows' };
const CONTIGUOUS: Role = { dtypes: ['F32'], layout: 'contiguous' };
const SHAPES = [[1], [37], [3, 5], [5, 1], [1, 300], [2, 3, 7], [2, 1, 3, 4]].map((x) => ({ x }));
const EPSILONS = [0, 2 ** -17, 1.5]; // short binary fractions: the same in F32

/** Ops along rows (the last axis). */
export const ROW_SKETCHES: readonly OpSketch[] = [
  {
    op: 'mean',
    roles: { x: ROWS },
    shapes: SHAPES,
    build: ({ x }) => mean(x!),
    expected: ({ x }) => reference.mean(x!),
  },
  {
    op: 'sumRows',
    roles: { x: ROWS },
    shapes: SHAPES,
    build: ({ x }) => sumRows(x!),
    expected: ({ x }) => reference.sumRows(x!),
  },
  ...EPSILONS.flatMap((eps): OpSketch[] => [
    {
      op: 'rmsNorm',
      title: `epsilon ${eps}`,
      roles: { x: ROWS },
      shapes: SHAPES,
      build: ({ x }) => rmsNorm(x!, eps),
      expected: ({ x }) => reference.rmsNorm(x!, eps),
    },
    {
      op: 'l2Norm',
      title: `epsilon ${eps}`,
      roles: { x: ROWS },
      shapes: SHAPES,
      build: ({ x }) => l2Norm(x!, eps),
      expected: ({ x }) => reference.l2Norm(x!, eps),
    },
  ]),
  {
    op: 'softMax',
    title: 'factor 0.375',
    roles: { x: { ...CONTIGUOUS, values: 'wide' } },
    shapes: SHAPES,
    build: ({ x }) => softMax(x!, 0.375),
    expected: ({ x }) => reference.softMax(x!, 0.375),
  },
  {
    op: 'softMax',
    title: 'masked',
    roles: { x: CONTIGUOUS, mask: { dtypes: ['F32', 'F16'], layout: 'contiguous', values: 'wide' } },
    shapes: [
      { x: [3, 5], mask: [3, 5] },
      { x: [5, 1], mask: [5, 1] },
      { x: [1, 300], mask: [1, 300] },
      { x: [4, 3, 7], mask: [3, 7] },
      { x: [2, 3, 5, 4], mask: [5, 4] },
    ],
    build: ({ x, mask }) => softMax(x!, 0.375, mask!),
    expected: ({ x, mask }) => reference.softMax(x!, 0.375, mask!),
  },
  {
    op: 'argmax',
    roles: { x: { ...CONTIGUOUS, values: 'ties' } },
    shapes: [
      [3, 5],
      [5, 1],
      [1, 300],
      [7, 33],
    ].map((x) => ({ x })),
    build: ({ x }) => argmax(x!),
    expected: ({ x }) => reference.argmax(x!),
    result: () => 'I32',
  },
  ...(['ascending', 'descending'] as const).map(
    (order): OpSketch => ({
      op: 'argsort',
      title: order,
      roles: { x: CONTIGUOUS },
      shapes: SHAPES,
      build: ({ x }) => argsort(x!, order),
      expected: ({ x }) => reference.argsort(x!, order),
      result: () => 'I32',
    }),
  ),
];
