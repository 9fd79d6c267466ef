import type { Dtype } from '../../src/dtype.js';
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
} from '../../src/graph/ops-arithmetic.js';
import { map } from './nd-array.js';
import type { Dtypes, OpSketch } from './op-sketch.js';
import * as reference from './reference.js';

const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16'];
const FACTOR = 0.3125; // a short binary fraction: the same in F32

const BINARY = [
  { op: 'add', build: add, combine: (a: number, b: number) => a + b },
  { op: 'sub', build: sub, combine: (a: number, b: number) => a - b },
  { op: 'mul', build: mul, combine: (a: number, b: number) => a * b },
  { op: 'div', build: div, combine: (a: number, b: number) => a / b },
] as const;

const ACTIVATIONS = [
  { op: 'silu', build: silu, value: reference.silu },
  { op: 'gelu', build: gelu, value: reference.geluByTable },
  { op: 'geluErf', build: geluErf, value: reference.geluErf },
] as const;

const UNARY_SHAPES = [[1], [37], [3, 5], [1, 33], [5, 1], [2, 3, 7], [2, 1, 3, 4]].map((x) => ({ x }));

// ggml computes an activation in F32 with its own exp, tanh and erf. Where the exact value lies next to the
// middle of two F16 values, a difference in the last bit of F32 picks the other one: one step of F16, 2^-10
// of the value at most, or 2^-24 for the smallest ones.
const HALF_STEP = 2 ** -20;
const SMALLEST_HALF = 2 ** -24;
const halfResult = ({ x }: Dtypes) => (x === 'F16' ? HALF_STEP : undefined);

// ggml's 1 + erf(x / √2) keeps no more than F32's steps next to 1 when x is far below 0: 2^-25 · |x|, and the
// operands stay within ±40.
const CANCELLATION = 40 * 2 ** -25;

/** Arithmetic, element by element. */
export const ARITHMETIC_SKETCHES: readonly OpSketch[] = [
  ...BINARY.map(
    ({ op, build, combine }): OpSketch => ({
      op,
      roles: {
        a: { dtypes: FLOATS, layout: 'rows' },
        b: { dtypes: FLOATS, layout: 'rows', values: 'nonzero' },
      },
      pairs: ({ a, b }) => a === b || b === 'F32',
      shapes: [
        { a: [7], b: [7] },
        { a: [1], b: [1] },
        { a: [3, 5], b: [5] },
        { a: [3, 5], b: [3, 1] },
        { a: [5, 1], b: [5, 1] },
        { a: [2, 3, 5], b: [1, 3, 1] },
        { a: [2, 3, 5], b: [2, 1, 5] },
        { a: [2, 1, 3, 4], b: [2, 1, 1, 4] },
        { a: [2, 2, 3, 4], b: [1] },
      ],
      build: ({ a, b }) => build(a!, b!),
      expected: ({ a, b }) => reference.binary(a!, b!, combine),
      result: ({ a }) => a!,
    }),
  ),
  {
    op: 'scale',
    title: `by ${FACTOR}`,
    roles: { x: { dtypes: ['F32'], layout: 'contiguous' } },
    shapes: UNARY_SHAPES,
    build: ({ x }) => scale(x!, FACTOR),
    expected: ({ x }) => map(x!, (value) => value * FACTOR),
  },
  {
    op: 'scale',
    title: `by ${FACTOR}, plus 1.5`,
    roles: { x: { dtypes: ['F32'], layout: 'contiguous' } },
    shapes: UNARY_SHAPES,
    build: ({ x }) => scale(x!, FACTOR, 1.5),
    expected: ({ x }) => map(x!, (value) => value * FACTOR + 1.5),
  },
  {
    op: 'sqrt',
    roles: { x: { dtypes: ['F32'], layout: 'contiguous' } }, //  NaN below 0, as in the reference
    shapes: UNARY_SHAPES,
    build: ({ x }) => sqrt(x!),
    expected: ({ x }) => map(x!, Math.sqrt),
  },
  {
    op: 'clamp',
    title: 'from -0.25',
    roles: { x: { dtypes: ['F32'], layout: 'any' } },
    shapes: UNARY_SHAPES,
    build: ({ x }) => clamp(x!, -0.25),
    expected: ({ x }) => map(x!, (value) => Math.max(value, -0.25)),
  },
  ...ACTIVATIONS.map(
    ({ op, build, value }): OpSketch => ({
      op,
      roles: { x: { dtypes: ['F32', 'F16'], layout: 'contiguous', values: 'wide' } },
      shapes: UNARY_SHAPES,
      build: ({ x }) => build(x!),
      expected: ({ x }) => map(x!, value),
      result: ({ x }) => x!,
      // The table of `gelu` holds F16 values for F32 operands too.
      tolerance: op === 'gelu' ? () => HALF_STEP : halfResult,
      floor: ({ x }) =>
        op === 'geluErf' ? CANCELLATION : op === 'gelu' || x === 'F16' ? SMALLEST_HALF : undefined,
    }),
  ),
  {
    op: 'swiglu',
    roles: { x: { dtypes: ['F32', 'F16'], layout: 'contiguous', values: 'wide' } },
    shapes: [[2], [74], [3, 10], [1, 66], [5, 2], [2, 3, 14], [2, 1, 3, 4]].map((x) => ({ x })),
    build: ({ x }) => swiglu(x!),
    expected: ({ x }) => reference.swiglu(x!),
    result: ({ x }) => x!,
    tolerance: halfResult,
    floor: ({ x }) => (x === 'F16' ? SMALLEST_HALF : undefined),
  },
];
