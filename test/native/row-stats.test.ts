import { expect, it } from 'vitest';
import { type Dtype, ggmlType } from '../../src/dtype.js';
import { native } from '../../src/native.js';

/** What the declaration says, in a plain loop. */
function plainStats(values: readonly number[]): number[] {
  const finite = values.filter(Number.isFinite);
  const nan = values.filter(Number.isNaN).length;
  const counts = [nan, values.length - finite.length - nan];
  if (finite.length === 0) return [Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, ...counts];
  const sum = finite.reduce((total, value) => total + value, 0);
  const squares = finite.reduce((total, value) => total + value * value, 0);
  const magnitudes = finite.map(Math.abs);
  return [
    Math.min(...finite),
    Math.max(...finite),
    sum / finite.length,
    Math.sqrt(squares / finite.length),
    Math.max(...magnitudes),
    ...counts,
  ];
}

/** The value of F16 bits, by the definition of the format. */
function widenF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function widenBf16(bits: number): number {
  return new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!;
}

/** Reproducible integers below `limit`. */
function randomIntegers(count: number, limit: number): number[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  });
}

async function expectStats(
  bytes: Uint8Array,
  dtype: Dtype,
  columns: number,
  values: readonly number[],
): Promise<void> {
  const [stats] = await native().rowStats([{ bytes, type: ggmlType(dtype), columns }]);
  const rows = values.length / columns;
  expect(stats).toHaveLength(rows * 7);
  const differing: unknown[] = [];
  for (let row = 0; row < rows; row++) {
    const got = [...stats!.subarray(row * 7, row * 7 + 7)];
    const expected = plainStats(values.slice(row * columns, (row + 1) * columns));
    const same = got.every((value, index) => {
      // Sums are added in another order; the sign of a zero is left open.
      const summed = index === 2 || index === 3;
      if (summed && Number.isFinite(value))
        return Math.abs(value - expected[index]!) <= 1e-13 * Math.abs(got[4]!);
      return Object.is(value + 0, expected[index]! + 0);
    });
    if (!same) differing.push({ row, got, expected });
  }
  expect(differing).toEqual([]);
}

// Rows shorter than, equal to and longer than the vector width and the conversion block.
it.each([1, 3, 15, 16, 17, 511, 512, 513, 1100])('F32 rows of %i columns', async (columns) => {
  const values = new Float32Array(
    randomIntegers(columns * 3, 2 ** 24).map((value) => (value - 2 ** 23) / 777),
  );
  await expectStats(new Uint8Array(values.buffer), 'F32', columns, [...values]);
});

it('NaN and infinities are counted and left out of the rest', async () => {
  const { NaN: nan, POSITIVE_INFINITY: inf, NEGATIVE_INFINITY: minusInf } = Number;
  const rows = [
    [1, nan, -3, inf, 2, minusInf, nan],
    [nan, nan, nan, nan, nan, nan, nan],
    [inf, minusInf, inf, inf, inf, inf, inf],
    [0, -0, nan, 0, 0, 0, 0],
    [3.4e38, -3.4e38, 1e-45, -1e-45, 0, 1, inf],
  ];
  const values = new Float32Array(rows.flat());
  await expectStats(new Uint8Array(values.buffer), 'F32', 7, [...values]);
});

it('every F16 value, subnormals, infinities and NaN included', async () => {
  const bits = new Uint16Array(65536).map((_, index) => index);
  await expectStats(new Uint8Array(bits.buffer), 'F16', 1, [...bits].map(widenF16));
  await expectStats(new Uint8Array(bits.buffer), 'F16', 512, [...bits].map(widenF16));
});

it('every BF16 value', async () => {
  const bits = new Uint16Array(65536).map((_, index) => index);
  await expectStats(new Uint8Array(bits.buffer), 'BF16', 1, [...bits].map(widenBf16));
});

it('I32 values beyond what F32 can hold', async () => {
  const values = new Int32Array([2 ** 31 - 1, -(2 ** 31), 2 ** 24 + 1, 0, -1, 16777219]);
  await expectStats(new Uint8Array(values.buffer), 'I32', 3, [...values]);
});

it('bytes that are not aligned to their elements', async () => {
  const values = new Float32Array([1, 2, 3, 4]);
  const shifted = new Uint8Array(17);
  shifted.set(new Uint8Array(values.buffer), 1);
  await expectStats(shifted.subarray(1), 'F32', 2, [1, 2, 3, 4]);
});

it('no rows give no values', async () => {
  expect(await native().rowStats([{ bytes: new Uint8Array(0), type: 0, columns: 4 }])).toEqual([
    new Float64Array(0),
  ]);
});

it('refuses types without a plain meaning with DTYPE_UNSUPPORTED', () => {
  expect(() =>
    native().rowStats([{ bytes: new Uint8Array(34), type: ggmlType('Q8_0'), columns: 32 }]),
  ).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }));
});
