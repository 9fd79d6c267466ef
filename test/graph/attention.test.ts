import { afterAll, describe, expect, it } from 'vitest';
import {
  attentionOutput,
  attentionWeights,
  causalMask,
  transposedValues,
} from '../../src/graph/attention.js';
import { openBackend } from '../../src/graph/backend.js';
import { map, type NdArray } from './nd-array.js';
import type { Operand } from './operand.js';
import { attention } from './reference-products.js';
import { roundTo } from './rounding.js';
import { runOp } from './run-op.js';

const backend = openBackend('cpu', { threads: 2 });
afterAll(() => backend.close());

const DIMS = 8;
const FACTOR = 0.375;
const f32 = (...shape: number[]): Operand => ({ dtype: 'F32', shape });

function maskOf(tokens: number, past: number, window?: number): NdArray {
  const span = past + tokens;
  return { shape: [tokens, span], data: Float64Array.from(causalMask(tokens, past, span, window)) };
}

describe('causalMask', () => {
  it('shows a token itself and what came before', () => {
    expect(Array.from(causalMask(2, 1, 3), (value) => value === 0)).toEqual([
      true,
      true,
      false,
      true,
      true,
      true,
    ]);
  });

  it('with a window of w, shows w positions', () => {
    const mask = causalMask(4, 2, 6, 3);
    for (let row = 0; row < 4; row++) {
      const shown = Array.from(mask.subarray(row * 6, row * 6 + 6).entries()).filter(
        ([, value]) => value === 0,
      );
      expect(shown.map(([position]) => position)).toEqual([row, row + 1, row + 2]);
    }
  });

  it('hides positions of a span that are not written yet', () => {
    expect(Array.from(causalMask(1, 1, 4))).toEqual([0, 0, -Infinity, -Infinity]);
  });
});

describe('attention with grouped queries', () => {
  for (const ratio of [1, 2, 4])
    for (const [tokens, past, window] of [
      [1, 0, undefined],
      [5, 0, undefined],
      [3, 4, undefined],
      [7, 0, 3],
      [1, 6, 2],
    ] as const) {
      const mask = maskOf(tokens, past, window);
      const operands = {
        query: f32(tokens, 2 * ratio, DIMS),
        key: f32(past + tokens, 2, DIMS),
        value: f32(past + tokens, 2, DIMS),
        mask: { ...f32(tokens, past + tokens), values: mask.data },
      };
      const reference = (v: Record<string, NdArray>) =>
        attention(v.query!, v.key!, v.value!, v.mask!, FACTOR);
      const title = `ratio ${ratio}, ${tokens} tokens after ${past}, window ${window}`;

      it(`gives the probabilities of double precision: ${title}`, async () => {
        const { query, key, mask } = operands;
        const failure = await runOp(backend, {
          operands: { query, key, mask },
          build: (t) => attentionWeights(t.query!, t.key!, t.mask!, FACTOR),
          expected: (v) => reference({ ...v, value: v.key! }).weights,
          dtype: 'F32',
        });
        expect(failure).toBeUndefined();
      });

      it(`mixes the values as double precision does: ${title}`, async () => {
        const failure = await runOp(backend, {
          operands,
          build: (t) =>
            attentionOutput(attentionWeights(t.query!, t.key!, t.mask!, FACTOR), transposedValues(t.value!)),
          expected: (v) => reference(v).context,
          dtype: 'F32',
        });
        expect(failure).toBeUndefined();
      });
    }

  it.each(['F16', 'BF16'] as const)('rounds the queries to the dtype of %s keys', async (dtype) => {
    const failure = await runOp(backend, {
      operands: {
        query: f32(3, 4, DIMS),
        key: { dtype, shape: [3, 2, DIMS] },
        mask: { ...f32(3, 3), values: maskOf(3, 0).data },
      },
      build: (t) => attentionWeights(t.query!, t.key!, t.mask!, FACTOR),
      expected: (v) => {
        const query = map(v.query!, (value) => roundTo(dtype, value));
        return attention(query, v.key!, v.key!, v.mask!, FACTOR).weights;
      },
      dtype: 'F32',
    });
    expect(failure).toBeUndefined();
  });

  it('keeps the sequences of a batch apart', async () => {
    const [batch, tokens] = [3, 5];
    const slab = (values: NdArray, n: number): NdArray => {
      const size = values.data.length / batch;
      return { shape: values.shape.slice(1), data: values.data.subarray(n * size, (n + 1) * size) };
    };
    const failure = await runOp(backend, {
      operands: {
        query: f32(batch, tokens, 4, DIMS),
        key: f32(batch, tokens, 2, DIMS),
        value: f32(batch, tokens, 2, DIMS),
        mask: { ...f32(tokens, tokens), values: maskOf(tokens, 0).data },
      },
      build: (t) =>
        attentionOutput(attentionWeights(t.query!, t.key!, t.mask!, FACTOR), transposedValues(t.value!)),
      expected: (v) => {
        const parts = Array.from({ length: batch }, (_, n) =>
          attention(slab(v.query!, n), slab(v.key!, n), slab(v.value!, n), v.mask!, FACTOR),
        );
        const data = Float64Array.from(parts.flatMap(({ context }) => Array.from(context.data)));
        return { shape: [batch, tokens, 4 * DIMS], data };
      },
      dtype: 'F32',
    });
    expect(failure).toBeUndefined();
  });
});
