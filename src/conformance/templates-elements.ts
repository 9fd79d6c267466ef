import {
  add,
  clamp,
  div,
  gelu,
  geluErf,
  mul,
  scale,
  silu,
  sqrt,
  sub,
  swiglu,
} from '../graph/ops-arithmetic.js';
import { argmax, argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from '../graph/ops-rows.js';
import { type ModelShapes, others, perModel, TOKENS } from './model-shapes.js';
import type { Template } from './template.js';

// Short binary fractions: the same numbers in F32.
const FACTOR = 0.3125;
const EPSILON = 2 ** -17;

const BINARY = { add, sub, mul, div };

/** Arithmetic on elements, and ops along rows. */
export function elementTemplates(models: readonly ModelShapes[]): Template[] {
  const pairs = [
    ...perModel(models, ({ hidden }) => ({ a: [TOKENS, hidden], b: [hidden] })),
    ...perModel(models, ({ heads, headDim }) => ({ a: [TOKENS, heads, headDim], b: [TOKENS, 1, headDim] })),
    ...others({ a: [1], b: [1] }, { a: [2, 3, 4, 33], b: [2, 1, 4, 1] }, { a: [3, 5], b: [3, 5] }),
  ];
  const x = [
    ...perModel(models, ({ ffn }) => ({ x: [TOKENS, ffn] })),
    ...others({ x: [1] }, { x: [2, 3, 5, 7] }, { x: [3, 37] }),
  ];
  const rows = [
    ...perModel(models, ({ hidden }) => ({ x: [TOKENS, hidden] })),
    ...perModel(models, ({ heads, headDim }) => ({ x: [TOKENS, heads, headDim] })),
    ...others({ x: [5, 1] }, { x: [2, 3, 5, 7] }, { x: [9, 37] }),
  ];
  const classes = [
    ...perModel(models, ({ classes }) => ({ x: [TOKENS, classes] })),
    ...others({ x: [1, 1] }, { x: [5, 300] }),
  ];
  const attention = perModel(models, ({ heads }) => ({ x: [heads, TOKENS, 33], mask: [TOKENS, 33] }));
  const roles = { x: {} };
  return [
    ...(Object.keys(BINARY) as (keyof typeof BINARY)[]).map(
      (op): Template => ({
        op,
        roles: { a: {}, b: { values: op === 'div' ? 'nonzero' : 'normal' } },
        shapes: pairs,
        special: true,
        build: ({ a, b }) => BINARY[op](a!, b!),
      }),
    ),
    { op: 'scale', roles, shapes: x, special: true, build: ({ x }) => scale(x!, FACTOR, 1.5) },
    { op: 'sqrt', roles: { x: { values: 'positive' } }, shapes: x, build: ({ x }) => sqrt(x!) },
    { op: 'clamp', roles, shapes: x, build: ({ x }) => clamp(x!, -0.25) },
    { op: 'silu', roles, shapes: x, build: ({ x }) => silu(x!) },
    { op: 'gelu', roles, shapes: x, build: ({ x }) => gelu(x!) },
    { op: 'geluErf', roles, shapes: x, build: ({ x }) => geluErf(x!) },
    {
      op: 'swiglu',
      roles,
      shapes: [
        ...perModel(models, ({ ffn }) => ({ x: [TOKENS, 2 * ffn] })),
        ...others({ x: [1, 2] }, { x: [2, 3, 5, 14] }, { x: [3, 74] }),
      ],
      build: ({ x }) => swiglu(x!),
    },
    { op: 'mean', roles, shapes: rows, build: ({ x }) => mean(x!) },
    { op: 'sumRows', roles, shapes: rows, build: ({ x }) => sumRows(x!) },
    { op: 'rmsNorm', roles, shapes: rows, build: ({ x }) => rmsNorm(x!, EPSILON) },
    { op: 'l2Norm', roles, shapes: rows, build: ({ x }) => l2Norm(x!, EPSILON) },
    { op: 'softMax', roles, shapes: classes, build: ({ x }) => softMax(x!, FACTOR) },
    {
      op: 'softMax',
      roles: { x: {}, mask: { values: 'mask' } },
      shapes: [...attention, ...others({ x: [2, 3, 5, 5], mask: [5, 5] }, { x: [3, 37], mask: [3, 37] })],
      build: ({ x, mask }) => softMax(x!, FACTOR, mask!),
    },
    { op: 'argmax', roles, shapes: classes, build: ({ x }) => argmax(x!) },
    { op: 'argsort', roles, shapes: classes, build: ({ x }) => argsort(x!, 'ascending') },
    { op: 'argsort', roles, shapes: classes, build: ({ x }) => argsort(x!, 'descending') },
  ];
}
