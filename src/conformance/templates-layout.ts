import type { Dtype } from '../dtype.js';
import {
  cast,
  concat,
  copy,
  copyInto,
  getRows,
  permute,
  repeat,
  reshape,
  setRows,
  slice,
  transpose,
} from '../graph/ops-layout.js';
import { elementCount, type Shape } from '../graph/shape.js';
import { fewRows, type ModelShapes, others, perModel, TOKENS } from './model-shapes.js';
import { ALL, PLAIN, type Template } from './template.js';

const reversed = (shape: Shape) => shape.map((_, axis) => shape.length - 1 - axis);
const below =
  (table: string, axis: number) =>
  (shapes: Readonly<Record<string, Shape>>): { below: number } => ({ below: shapes[table]!.at(axis)! });

/** Ops that move data, or only look at it. */
export function layoutTemplates(models: readonly ModelShapes[]): Template[] {
  const heads = perModel(models, ({ heads, headDim }) => ({ x: [TOKENS, heads, headDim] }));
  const x = [...heads, ...others({ x: [1] }, { x: [1, 37] }, { x: [2, 3, 5, 7] }, { x: [3, 5] })];
  const onX = { roles: { x: {} }, shapes: x, special: true };
  const target = { a: {}, b: {} };
  return [
    { op: 'reshape', ...onX, build: ({ x }) => reshape(x!, [1, elementCount(x!.shape)]) },
    { op: 'view', ...onX, build: ({ x }) => slice(x!, -1, 0, Math.ceil(x!.shape.at(-1)! / 2)) },
    { op: 'permute', ...onX, build: ({ x }) => permute(x!, reversed(x!.shape)) },
    { op: 'transpose', ...onX, build: ({ x }) => transpose(x!) },
    { op: 'cont', ...onX, build: ({ x }) => copy(x!) },
    ...PLAIN.map(
      (dtype: Dtype): Template => ({
        op: 'cast',
        roles: { x: { values: dtype === 'I32' ? 'wide' : 'normal' } },
        shapes: x,
        special: dtype !== 'I32',
        build: ({ x }) => cast(x!, dtype),
      }),
    ),
    {
      op: 'copyInto',
      roles: { x: {}, target: {} },
      shapes: x.map(({ from, shapes }) => ({ from, shapes: { x: shapes.x!, target: shapes.x! } })),
      special: true,
      build: ({ x, target }) => copyInto(x!, target!),
    },
    ...[0, -1].map(
      (axis): Template => ({
        op: 'concat',
        roles: target,
        shapes: x.map(({ from, shapes }) => ({ from, shapes: { a: shapes.x!, b: shapes.x! } })),
        special: true,
        build: ({ a, b }) => concat(a!, b!, axis),
      }),
    ),
    {
      op: 'repeat',
      roles: { x: {} },
      shapes: [
        ...perModel(models, ({ kvHeads, headDim }) => ({ x: [kvHeads, 1, headDim] })),
        ...others({ x: [1] }, { x: [2, 1, 3, 5] }, { x: [1, 37] }),
      ],
      special: true,
      build: ({ x }) =>
        repeat(
          x!,
          x!.shape.map((size) => (size === 1 ? 3 : size)),
        ),
    },
    {
      op: 'getRows',
      roles: { table: { dtypes: ALL }, ids: { dtypes: ['I32'], values: below('table', -2) } },
      shapes: [
        ...perModel(models, ({ hidden }) => ({ table: [fewRows(hidden), hidden], ids: [TOKENS] })),
        ...others(
          { table: [1, 1], ids: [1] },
          { table: [3, 4, 256], ids: [3, 5] },
          { table: [5, 33], ids: [3] },
        ),
      ],
      special: true,
      build: ({ table, ids }) => getRows(table!, ids!),
    },
    {
      op: 'setRows',
      roles: { target: {}, rows: {}, ids: { dtypes: ['I32'], values: below('target', 0) } },
      shapes: [
        ...perModel(models, ({ kvHeads, headDim }) => ({
          target: [33, kvHeads * headDim],
          rows: [TOKENS, kvHeads * headDim],
          ids: [TOKENS],
        })),
        ...others({ target: [1, 1], rows: [1, 1], ids: [1] }, { target: [40, 33], rows: [3, 33], ids: [3] }),
      ],
      special: true,
      build: ({ target, rows, ids }) => setRows(target!, rows!, ids!),
    },
  ];
}
