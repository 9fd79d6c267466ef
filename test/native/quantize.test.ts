import { describe, expect, it } from 'vitest';
import { DTYPES, type Dtype, ggmlType, isQuantized, sizeBytes } from '../../src/dtype.js';
import { native } from '../../src/native.js';

const IQ2_XXS = 16;
const Q8_1 = 9;
const COLUMNS = 512;
const VALUES = new Float32Array(COLUMNS * 3).map((_, index) => Math.sin(index * 1.7) * (1 + (index % 5)));

/** Error energy against reference energy. */
function nmse(reference: Float32Array, tested: Float32Array): number {
  let error = 0;
  let energy = 0;
  reference.forEach((value, index) => {
    error += (tested[index]! - value) ** 2;
    energy += value ** 2;
  });
  return error / energy;
}

/**
 * Twice the noise of an even quantiser with that many bits, `2^(−2 bits) / 3` of full scale over the energy
 * of a sine-like signal, a K-quant's shared scales included.
 */
const LIMITS: Partial<Record<Dtype, number>> = {
  F32: 0,
  F16: 2 ** -22,
  BF16: 2 ** -16,
  Q4_0: 1e-2,
  Q4_1: 1e-2,
  Q5_0: 3e-3,
  Q5_1: 3e-3,
  Q8_0: 5e-5,
  Q2_K: 1e-1,
  Q3_K: 4e-2,
  Q4_K: 1e-2,
  Q5_K: 3e-3,
  Q6_K: 1e-3,
};

/**
 * Types that are read and never written here: test/models/model-files.test.ts checks what their blocks decode
 * to.
 */
const DECODED: readonly Dtype[] = [
  'IQ2_XXS',
  'IQ2_XS',
  'IQ3_XXS',
  'IQ1_S',
  'IQ4_NL',
  'IQ3_S',
  'IQ2_S',
  'IQ4_XS',
  'IQ1_M',
  'TQ1_0',
  'TQ2_0',
  'MXFP4',
  'NVFP4',
  'Q1_0',
  'Q2_0',
];

describe('a round trip through a weight type', () => {
  it.each(Object.entries(LIMITS) as [Dtype, number][])(
    '%s has the size that the table says and an error below %d',
    async (dtype, limit) => {
      const bytes = await native().quantize(VALUES, ggmlType(dtype), COLUMNS, null);
      expect(bytes).toHaveLength(sizeBytes(dtype, VALUES.length));
      const back = new Float32Array(VALUES.length);
      await native().dequantize(bytes, ggmlType(dtype), COLUMNS, back);
      const error = nmse(VALUES, back);
      expect(error).toBeLessThanOrEqual(limit);
      if (limit > 0) expect(error).toBeGreaterThan(0);
    },
  );

  it('covers every quantised dtype of the library', () => {
    const written = DTYPES.filter((dtype) => isQuantized(dtype) && !DECODED.includes(dtype));
    expect(written.filter((dtype) => !(dtype in LIMITS))).toEqual([]);
  });

  it('keeps the columns that importance points at', async () => {
    const importance = new Float32Array(COLUMNS).map((_, index) => (index % 32 === 0 ? 1000 : 0.001));
    const back = [new Float32Array(VALUES.length), new Float32Array(VALUES.length)] as const;
    await native().dequantize(
      await native().quantize(VALUES, ggmlType('Q4_0'), COLUMNS, null),
      ggmlType('Q4_0'),
      COLUMNS,
      back[0],
    );
    await native().dequantize(
      await native().quantize(VALUES, ggmlType('Q4_0'), COLUMNS, importance),
      ggmlType('Q4_0'),
      COLUMNS,
      back[1],
    );
    const important = (values: Float32Array): Float32Array => values.filter((_, index) => index % 32 === 0);
    expect(nmse(important(VALUES), important(back[1]))).toBeLessThan(
      nmse(important(VALUES), important(back[0])) / 10,
    );
  });

  it('rounds BF16 to nearest even and keeps what is not finite', async () => {
    const values = new Float32Array([1 + 2 ** -8, 1 + 3 * 2 ** -8, Number.POSITIVE_INFINITY, Number.NaN]);
    const back = new Float32Array(4);
    await native().dequantize(
      await native().quantize(values, ggmlType('BF16'), 4, null),
      ggmlType('BF16'),
      4,
      back,
    );
    expect([...back]).toEqual([1, 1 + 2 ** -6, Number.POSITIVE_INFINITY, Number.NaN]);
  });

  it('of no rows gives no bytes', async () => {
    expect(await native().quantize(new Float32Array(0), ggmlType('Q8_0'), 32, null)).toHaveLength(0);
  });
});

describe('refusals', () => {
  it.each([
    [
      'columns that break a block',
      () => native().quantize(VALUES, ggmlType('Q4_K'), 128, null),
      'BAD_ARGUMENT',
    ],
    [
      'values that break a row',
      () => native().quantize(VALUES.subarray(1), ggmlType('Q8_0'), 32, null),
      'BAD_ARGUMENT',
    ],
    [
      'importance of another length',
      () => native().quantize(VALUES, ggmlType('Q8_0'), 32, new Float32Array(31)),
      'BAD_ARGUMENT',
    ],
    [
      'a type that cannot do without importance',
      () => native().quantize(VALUES, IQ2_XXS, COLUMNS, null),
      'BAD_ARGUMENT',
    ],
    ['an integer type', () => native().quantize(VALUES, ggmlType('I32'), COLUMNS, null), 'DTYPE_UNSUPPORTED'],
    [
      'a type that ggml keeps for itself',
      () => native().quantize(VALUES, Q8_1, COLUMNS, null),
      'DTYPE_UNSUPPORTED',
    ],
    [
      'bytes that break a row',
      () => native().dequantize(new Uint8Array(33), ggmlType('Q8_0'), 32, new Float32Array(32)),
      'BAD_ARGUMENT',
    ],
    [
      'integers to widen',
      () => native().dequantize(new Uint8Array(4), ggmlType('I32'), 1, new Float32Array(1)),
      'DTYPE_UNSUPPORTED',
    ],
  ])('%s', (_, run, code) => {
    expect(run).toThrow(expect.objectContaining({ code }));
  });

  it('values that are not finite reject with BAD_ARGUMENT and the place', async () => {
    const values = VALUES.slice();
    values[700] = Number.NaN;
    await expect(native().quantize(values, ggmlType('Q4_K'), COLUMNS, null)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('at index 700'),
    });
  });

  it('values beyond what the type can scale reject with BACKEND', async () => {
    const values = new Float32Array(256).fill(1e30);
    await expect(native().quantize(values, ggmlType('Q4_K'), 256, null)).rejects.toMatchObject({
      code: 'BACKEND',
    });
  });
});
