import { afterAll, expect, it } from 'vitest';
import type { Dtype } from '../../src/dtype.js';
import { openBackend } from '../../src/graph/backend.js';
import { conv1dDepthwise, conv1dGrouped } from '../../src/graph/convolution.js';
import { build, map, type NdArray } from './nd-array.js';
import type { Operand } from './operand.js';
import { slice } from './reference.js';
import { conv1d } from './reference-products.js';
import { roundTo } from './rounding.js';
import { runOp } from './run-op.js';

const backend = openBackend('cpu', { threads: 2 });
afterAll(() => backend.close());

const DTYPES = ['F32', 'F16', 'BF16'] as const;
const PATCHES = ['F32', 'F16'] as const;

const f32 = (shape: readonly number[]): Operand => ({ dtype: 'F32', shape });
const rounded = (values: NdArray, dtype: Dtype) => map(values, (value) => roundTo(dtype, value));

/** Convolves each sequence of a batch [batch, time, channels], or one sequence [time, channels]. */
function convolveAll(x: NdArray, weight: NdArray, bias: NdArray, groups: number): NdArray {
  if (x.shape.length === 2) return conv1d(x, weight, bias, groups);
  const [batch, time, channels] = x.shape as [number, number, number];
  const parts = Array.from({ length: batch }, (_, n) =>
    conv1d({ shape: [time, channels], data: slice(x, 0, n, n + 1).data }, weight, bias, groups),
  );
  const shape = [batch, ...parts[0]!.shape];
  return build(shape, ([n, t, c]) => parts[n!]!.data[t! * channels + c!]!);
}

for (const patches of PATCHES)
  for (const stored of DTYPES)
    for (const weightDtype of DTYPES)
      it(`conv1dGrouped agrees with double precision: ${stored} weight used as ${weightDtype}, ${patches} patches`, async () => {
        const failures: (string | undefined)[] = [];
        for (const size of [1, 2, 3])
          for (const groups of [1, 2, 10])
            for (const x of [
              [size, 20],
              [size + 6, 20],
              [3, 5, 20],
            ])
              failures.push(
                await runOp(backend, {
                  operands: {
                    x: f32(x),
                    weight: { dtype: stored, shape: [20, 20 / groups, size] },
                    bias: f32([20]),
                  },
                  build: (t) =>
                    conv1dGrouped(t.x!, t.weight!, t.bias!, { groups, im2col: patches, weight: weightDtype }),
                  // What is rounded on the way is rounded here: then F32 sums of F32 or F16 products agree to
                  // F32's precision.
                  expected: (v) =>
                    convolveAll(rounded(v.x!, patches), rounded(v.weight!, weightDtype), v.bias!, groups),
                  dtype: 'F32',
                  seed: size,
                }),
              );
        expect(failures.filter((failure) => failure !== undefined)).toEqual([]);
      });

it('conv1dDepthwise agrees with double precision', async () => {
  const failures: (string | undefined)[] = [];
  for (const size of [1, 2, 3, 4])
    for (const x of [
      [size, 7],
      [size + 5, 1],
      [2, size + 2, 7],
      [1, size + 1, 33],
    ]) {
      const channels = x.at(-1)!;
      failures.push(
        await runOp(backend, {
          operands: { x: f32(x), weight: f32([channels, 1, size]), bias: f32([channels]) },
          build: (t) => conv1dDepthwise(t.x!, t.weight!, t.bias!),
          expected: (v) => convolveAll(v.x!, v.weight!, v.bias!, channels),
          dtype: 'F32',
          seed: size,
        }),
      );
    }
  expect(failures.filter((failure) => failure !== undefined)).toEqual([]);
});
