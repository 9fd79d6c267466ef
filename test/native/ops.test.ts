import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ggmlFunction, OP_NAMES } from '../../src/graph/ops.js';
import { native } from '../../src/native.js';
import { evaluate, fourSizes, leaf, type Operand } from './run-op.js';

const F32 = 0;
const I32 = 26;

interface Case {
  op: string;
  sources: Operand[];
  params?: number[];
  ne: number[];
  type?: number;
  expected: number[];
}

const row = (...values: number[]): Operand => ({ ne: [values.length], values });
const ids = (...values: number[]): Operand => ({ ne: [values.length], values, dtype: 'I32' });
/** Two rows of three. */
const grid: Operand = { ne: [3, 2], values: [1, 2, 3, 4, 5, 6] };
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const gelu = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

const CASES: Case[] = [
  { op: 'add', sources: [grid, row(10, 20, 30)], ne: [3, 2], expected: [11, 22, 33, 14, 25, 36] },
  { op: 'sub', sources: [grid, row(1, 2, 3)], ne: [3, 2], expected: [0, 0, 0, 3, 3, 3] },
  { op: 'mul', sources: [grid, row(2, 3, 4)], ne: [3, 2], expected: [2, 6, 12, 8, 15, 24] },
  { op: 'div', sources: [grid, row(1, 2, 4)], ne: [3, 2], expected: [1, 1, 0.75, 4, 2.5, 1.5] },
  { op: 'sqrt', sources: [row(9, 0, 4)], ne: [3], expected: [3, 0, 2] },
  { op: 'scale', sources: [row(1, -2)], params: [3], ne: [2], expected: [3, -6] },
  { op: 'scale', sources: [row(1, -2)], params: [3, 1], ne: [2], expected: [4, -5] },
  { op: 'sum_rows', sources: [grid], ne: [1, 2], expected: [6, 15] },
  { op: 'mean', sources: [grid], ne: [1, 2], expected: [2, 5] },
  {
    op: 'rms_norm',
    sources: [row(3, 4)],
    params: [0],
    ne: [2],
    expected: [3 / Math.sqrt(12.5), 4 / Math.sqrt(12.5)],
  },
  { op: 'l2_norm', sources: [row(3, 4)], params: [0], ne: [2], expected: [0.6, 0.8] },
  // Rows of the first operand against rows of the second.
  { op: 'mul_mat', sources: [grid, { ne: [3, 1], values: [1, 0, -1] }], ne: [2], expected: [-2, -2] },
  {
    op: 'mul_mat',
    sources: [grid, { ne: [3, 1], values: [1, 0, -1] }],
    params: [10],
    ne: [2],
    expected: [-2, -2],
  },
  // Expert 1 for the first row, expert 0 for the second.
  {
    op: 'mul_mat_id',
    sources: [
      { ne: [2, 1, 2], values: [1, 2, 3, 4] },
      { ne: [2, 1, 2], values: [1, 1, 5, 1] },
      { ne: [1, 2], values: [1, 0], dtype: 'I32' },
    ],
    ne: [1, 1, 2],
    expected: [7, 7],
  },
  { op: 'get_rows', sources: [grid, ids(1, 0, 1)], ne: [3, 3], expected: [4, 5, 6, 1, 2, 3, 4, 5, 6] },
  { op: 'cont', sources: [grid], ne: [3, 2], expected: grid.values },
  { op: 'cast', sources: [row(1.9, -2.9)], ne: [2], type: I32, expected: [1, -2] },
  { op: 'cast', sources: [row(1.9, -2.9)], params: [I32], ne: [2], type: I32, expected: [1, -2] },
  {
    op: 'concat',
    sources: [grid, { ne: [1, 2], values: [7, 8] }],
    params: [0],
    ne: [4, 2],
    expected: [1, 2, 3, 7, 4, 5, 6, 8],
  },
  { op: 'repeat', sources: [row(1, 2)], params: [2, 2, 1, 1], ne: [2, 2], expected: [1, 2, 1, 2] },
  { op: 'soft_max_ext', sources: [row(0, Math.log(3))], params: [1, 0], ne: [2], expected: [0.25, 0.75] },
  {
    op: 'soft_max_ext',
    sources: [row(0, Math.log(3), 5), row(0, 0, Number.NEGATIVE_INFINITY)],
    params: [1, 0],
    ne: [3],
    expected: [0.25, 0.75, 0],
  },
  // One head of 4 at position 1, neox pairs (0, 2) on the first 2 dims only would be (0, 1): rotate by 1
  // radian.
  {
    op: 'rope_ext',
    sources: [{ ne: [4, 1, 1], values: [1, 0, 5, 6] }, ids(1)],
    params: [2, 2, 0, 10000, 1, 0, 1, 32, 1],
    ne: [4, 1, 1],
    expected: [Math.cos(1), Math.sin(1), 5, 6],
  },
  // Kernel of 2 over 3 samples of one channel.
  {
    op: 'im2col',
    sources: [
      { ne: [2, 1], values: [0, 0] },
      { ne: [3, 1], values: [1, 2, 3] },
    ],
    params: [1, 0, 0, 0, 1, 0, 0, F32],
    ne: [2, 2],
    expected: [1, 2, 2, 3],
  },
  {
    op: 'ssm_conv',
    sources: [
      { ne: [3, 2, 1], values: [1, 2, 3, 4, 5, 6] },
      { ne: [2, 2], values: [1, 10, 1, 100] },
    ],
    ne: [2, 2, 1],
    expected: [21, 504, 32, 605],
  },
  { op: 'argmax', sources: [grid], ne: [2], type: I32, expected: [2, 2] },
  { op: 'argsort', sources: [row(3, 1, 2)], params: [0], ne: [3], type: I32, expected: [1, 2, 0] },
  { op: 'argsort', sources: [row(3, 1, 2)], params: [1], ne: [3], type: I32, expected: [0, 2, 1] },
  { op: 'clamp', sources: [row(-5, 0.5, 5)], params: [-1, 1], ne: [3], expected: [-1, 0.5, 1] },
  { op: 'gelu_erf', sources: [row(0, 1, -1)], ne: [3], expected: [0, 0.8413447, -0.1586553] },
  { op: 'silu', sources: [row(0, 2)], ne: [2], expected: [0, 2 * sigmoid(2)] },
  { op: 'swiglu', sources: [row(2, 3)], ne: [1], expected: [2 * sigmoid(2) * 3] },
];

describe('each op of the table', () => {
  it('is one of the vocabulary, and none is missing', () => {
    const source = readFileSync(new URL('../../native/src/ops.cc', import.meta.url), 'utf8');
    const table = [...source.matchAll(/^ {4}\{"(\w+)", \d/gm)].map(([, name]) => name!);
    expect(table).toEqual(OP_NAMES.map(ggmlFunction).sort());
  });

  it.each(CASES)(
    '$op gives what a hand computation gives (parameters $params)',
    async ({ op, sources, params = [], ne, type = F32, expected }) => {
      const values = await evaluate(
        (context, input) => context.op(op, sources.map(input), params, type, fourSizes(ne), op),
        type === I32 ? 'I32' : 'F32',
      );
      expect(values).toHaveLength(expected.length);
      values.forEach((value, index) => {
        expect(Math.abs(value - expected[index]!)).toBeLessThanOrEqual(
          1e-6 * Math.max(1, Math.abs(expected[index]!)),
        );
      });
    },
  );

  it('gelu is the tanh form, within the steps of its F16 table', async () => {
    const values = await evaluate((context, input) =>
      context.op('gelu', [input(row(0.5, -1.25, 2))], [], F32, [3, 1, 1, 1], 'gelu'),
    );
    [0.5, -1.25, 2].forEach((x, index) => {
      expect(Math.abs(values[index]! - gelu(x))).toBeLessThan(2e-3);
    });
  });
});

describe('ops that look at memory', () => {
  it('view, permute, transpose and reshape move no data', async () => {
    // [1 2 3; 4 5 6] -> columns 1..2 -> transposed.
    const transposed = await evaluate((context, input) => {
      const view = context.op('view', [input(grid)], [2, 2, 1, 1, 12, 24, 24, 4], F32, [2, 2, 1, 1], 'view');
      const turned = context.op('transpose', [view], [], F32, [2, 2, 1, 1], 'transpose');
      return context.op('cont', [turned], [], F32, [2, 2, 1, 1], 'cont');
    });
    expect(transposed).toEqual([2, 5, 3, 6]);
    const permuted = await evaluate((context, input) => {
      const turned = context.op('permute', [input(grid)], [1, 0, 2, 3], F32, [2, 3, 1, 1], 'permute');
      return context.op('cont', [turned], [], F32, [2, 3, 1, 1], 'cont');
    });
    expect(permuted).toEqual([1, 4, 2, 5, 3, 6]);
    const reshaped = await evaluate((context, input) => {
      const flat = context.op('reshape', [input(grid)], [6, 1, 1, 1], F32, [6, 1, 1, 1], 'reshape');
      return context.op('scale', [flat], [2], F32, [6, 1, 1, 1], 'scale');
    });
    expect(reshaped).toEqual([2, 4, 6, 8, 10, 12]);
  });

  it('cpy and set_rows write into their target', async () => {
    const copied = await evaluate((context, input) => {
      const target = input(row(0, 0, 0));
      return context.op('cpy', [input(row(1, 2, 3)), target], [], F32, [3, 1, 1, 1], 'cpy');
    });
    expect(copied).toEqual([1, 2, 3]);
    const set = await evaluate((context, input) => {
      const target = input({ ne: [2, 3], values: [0, 0, 0, 0, 0, 0] });
      const rows = input({ ne: [2, 1], values: [7, 8] });
      return context.op('set_rows', [target, rows, input(ids(2))], [], F32, [2, 3, 1, 1], 'set_rows');
    });
    expect(set).toEqual([0, 0, 0, 0, 7, 8]);
  });

  it('refuses a view that ends beyond its source', () => {
    const context = new (native().Context)(8);
    const x = leaf(context, [4], 'x');
    expect(() => context.op('view', [x], [2, 2, 1, 1, 16, 32, 32, 0], F32, [2, 2, 1, 1], 'v')).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});
