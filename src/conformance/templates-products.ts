import { im2col, mulMat, mulMatId, rope, ssmConv } from '../graph/ops-products.js';
import type { Shape } from '../graph/shape.js';
import { fewExperts, fewRows, type ModelShapes, others, perModel, TOKENS } from './model-shapes.js';
import { ALL, type Template } from './template.js';

/** Positions of a cache that a call sees. */
const VISIBLE = 33;

/** Products, convolutions and the rotary embedding. */
export function productTemplates(models: readonly ModelShapes[]): Template[] {
  const series = others(
    { kernel: [1, 1, 1], x: [1, 1, 1] },
    { kernel: [2, 4, 3], x: [1, 4, 5] },
    { kernel: [3, 5, 2], x: [2, 5, 7] },
  );
  return [
    {
      op: 'mulMat',
      roles: { a: { dtypes: ALL }, b: {} },
      shapes: [
        ...perModel(models, ({ hidden }) => ({ a: [fewRows(hidden), hidden], b: [TOKENS, hidden] })),
        ...perModel(models, ({ hidden }) => ({ a: [fewRows(hidden), hidden], b: [1, hidden] })),
        ...perModel(models, ({ classes, router }) => ({ a: [classes, router], b: [TOKENS, router] })),
        ...perModel(models, ({ heads, kvHeads, headDim }) => ({
          a: [kvHeads, VISIBLE, headDim],
          b: [heads, TOKENS, headDim],
        })),
        ...others({ a: [1, 1], b: [1, 1] }, { a: [5, 33], b: [3, 33] }, { a: [2, 5, 256], b: [4, 3, 256] }),
      ],
      build: ({ a, b }) => mulMat(a!, b!),
    },
    {
      op: 'mulMatId',
      roles: {
        experts: { dtypes: ALL },
        b: {},
        ids: { dtypes: ['I32'], values: ({ experts }) => ({ below: experts![0]! }) },
      },
      shapes: [
        ...perModel(models, ({ classes, hidden }) => experts(fewExperts(classes), hidden, TOKENS)),
        ...perModel(models, ({ classes, ffn }) => experts(fewExperts(classes), ffn, 1)),
        ...others(experts(3, 33, 9), { experts: [1, 1, 1], b: [1, 1], ids: [1] }),
      ],
      build: ({ experts, b, ids }) => mulMatId(experts!, b!, ids!),
    },
    ...(['F32', 'F16'] as const).map(
      (dtype): Template => ({
        op: 'im2col',
        roles: { kernel: {}, x: {} },
        shapes: [
          ...perModel(models, ({ headDim, kernels: [, size] }) => ({
            kernel: [3, headDim, size],
            x: [2, headDim, TOKENS + size - 1],
          })),
          ...series,
        ],
        build: ({ kernel, x }) => im2col(kernel!, x!, dtype),
      }),
    ),
    {
      op: 'ssmConv',
      roles: { x: {}, kernel: {} },
      shapes: [
        ...perModel(models, ({ channels, kernels: [size] }) => ({
          x: [1, channels, TOKENS + size - 1],
          kernel: [channels, size],
        })),
        ...others(
          { x: [1, 1, 1], kernel: [1, 1] },
          { x: [1, 5, 9], kernel: [5, 3] },
          { x: [2, 33, 9], kernel: [33, 4] },
        ),
      ],
      build: ({ x, kernel }) => ssmConv(x!, kernel!),
    },
    ...models.map((model) => ropeTemplate(model, { x: [TOKENS, model.heads, model.headDim] }, model.name)),
    ropeTemplate({ rotary: 2, rotaryBase: 1e4 }, { x: [1, 1, 2] }, 'odd'),
    ropeTemplate({ rotary: 6, rotaryBase: 1e4 }, { x: [5, 3, 12] }, 'odd'),
  ];
}

function experts(count: number, inner: number, rows: number): Record<string, Shape> {
  return { experts: [count, fewRows(inner), inner], b: [rows, inner], ids: [rows] };
}

function ropeTemplate(
  { rotary, rotaryBase }: Pick<ModelShapes, 'rotary' | 'rotaryBase'>,
  { x }: { x: Shape },
  from: string,
): Template {
  return {
    op: 'rope',
    roles: { x: {}, positions: { dtypes: ['I32'], values: 'positions' } },
    shapes: [{ from, shapes: { x, positions: [x[0]!] } }],
    build: ({ x, positions }) => rope(x!, positions!, rotary, rotaryBase),
  };
}
