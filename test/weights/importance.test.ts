import { describe, expect, it } from 'vitest';
import { type Dtype, ggmlType } from '../../src/dtype.js';
import { native } from '../../src/native.js';
import { usableImportance } from '../../src/weights/importance.js';
import { seededIntegers } from './fixtures.js';

const COLUMNS = 256;
const ROWS = 8;
const random = seededIntegers(11);
const weights = Float32Array.from({ length: ROWS * COLUMNS }, () => (random(2001) - 1000) / 1e4);
const importance = Float32Array.from({ length: COLUMNS }, () => 0.01 + random(1000) / 100);
const zeros = new Float32Array(COLUMNS);
const ones = new Float32Array(COLUMNS).fill(1);

const quantise = (dtype: Dtype, values: Float32Array) =>
  native().quantize(weights, ggmlType(dtype), COLUMNS, values);

async function nmse(dtype: Dtype, bytes: Uint8Array): Promise<number> {
  const back = new Float32Array(weights.length);
  await native().dequantize(bytes, ggmlType(dtype), COLUMNS, back);
  const energy = weights.reduce((sum, value) => sum + value * value, 0);
  return weights.reduce((sum, value, at) => sum + (value - back[at]!) ** 2, 0) / energy;
}

describe('importance', () => {
  it('of ordinary size is given to ggml as it is', () => {
    expect(usableImportance(importance, 1)).toEqual({
      values: importance,
      unreached: 0,
      scaled: 0,
      ignoredColumns: 0,
    });
  });

  it.each(['Q4_0', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ4_NL'] as const)(
    'of an expert that nothing reached counts all columns alike in %s, as llama.cpp has it for a count of 0',
    async (dtype) => {
      const { values, unreached } = usableImportance(Float32Array.from([...importance, ...zeros]), 2);
      expect(unreached).toBe(1);
      expect(values.subarray(0, COLUMNS)).toEqual(importance);
      expect(await quantise(dtype, values.slice(COLUMNS))).toEqual(await quantise(dtype, ones));
      // As it stands in a .dat file it would make every weight 0.
      expect(await nmse(dtype, await quantise(dtype, zeros))).toBe(1);
      expect(await nmse(dtype, await quantise(dtype, values.slice(COLUMNS)))).toBeLessThan(0.01);
    },
  );

  it.each([
    ['Q4_0', 2 ** 100],
    ['Q4_K', 2 ** 100],
    ['Q6_K', 2 ** 110],
    ['Q4_0', 2 ** -100],
    ['Q4_K', 2 ** -100],
    ['Q6_K', 2 ** -110],
  ] as const)('in %s does not depend on a factor of %d', async (dtype, factor) => {
    const { values, scaled } = usableImportance(
      importance.map((value) => value * factor),
      1,
    );
    expect(scaled).toBe(1);
    expect(await quantise(dtype, values)).toEqual(await quantise(dtype, importance));
    // Left as it is, the quantiser's products overflow or vanish.
    expect(
      await quantise(
        dtype,
        importance.map((value) => value * factor),
      ),
    ).not.toEqual(await quantise(dtype, importance));
  });

  it("of 0 in some columns is llama.cpp's, and counted", () => {
    const partial = importance.slice();
    partial.fill(0, 10, 20);
    expect(usableImportance(partial, 1)).toEqual({
      values: partial,
      unreached: 0,
      scaled: 0,
      ignoredColumns: 10,
    });
  });
});
