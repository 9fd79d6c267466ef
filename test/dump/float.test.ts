import { expect, it } from 'vitest';
import { toFloat32, toFloat64 } from '../../src/dump/float.js';
import { rowStats } from '../../src/dump/row-stats.js';
import { widen } from '../../src/dump/widen.js';

/** A half as IEEE 754 defines it, computed apart from the table under test. */
function half(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f;
  const sign = bits & 0x8000 ? -1 : 1;
  const fraction = (bits & 0x3ff) / 1024;
  if (exponent === 0x1f) return fraction === 0 ? sign / 0 : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

it('widens every half exactly, zeros with their sign', () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, k) => k);
  const wide = toFloat32(bits, 'F16');
  for (let k = 0; k < 65536; k++)
    if (!Object.is(wide[k], half(k))) expect([k, wide[k]]).toEqual([k, half(k)]);
  expect([...toFloat64(bits.subarray(0, 40000), 'F16')]).toEqual([...wide.subarray(0, 40000)]);
});

it('widens every bfloat16 to the float with the same upper bits', () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, k) => k);
  const words = new Uint32Array(toFloat32(bits, 'BF16').buffer);
  for (let k = 0; k < 65536; k++) if (words[k] !== k * 65536) expect(words[k]).toBe(k * 65536);
  expect(toFloat64(Uint16Array.of(0x3f80, 0xc040), 'BF16')).toEqual(Float64Array.of(1, -3));
});

it('leaves F32 as it is, and keeps integers exact in doubles', () => {
  const floats = Float32Array.of(1.5, -0);
  expect(toFloat32(floats, 'F32')).toBe(floats);
  expect(toFloat64(Int32Array.of(16777217), 'I32')[0]).toBe(16777217);
});

it('widens into a larger buffer and returns the part it wrote', () => {
  const out = new Float32Array(4).fill(7);
  expect([...widen(Uint16Array.of(0x3c00), 'F16', out)]).toEqual([1]);
  expect([...out]).toEqual([1, 7, 7, 7]);
});

it('gives row statistics over finite values, and counts the others', () => {
  const stats = rowStats(
    Float32Array.of(1, -3, Number.NaN, 2, Number.POSITIVE_INFINITY, Number.NaN, 0, 0),
    'F32',
    4,
  );
  expect([...stats.subarray(0, 7)]).toEqual([-3, 2, 0, Math.sqrt(14 / 3), 3, 1, 0]);
  expect([...stats.subarray(7)]).toEqual([0, 0, 0, 0, 0, 1, 1]);
});

it('has no statistics for rows without finite values', () => {
  const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
  expect([...rowStats(Float32Array.of(nan, inf), 'F32', 2)]).toEqual([nan, nan, nan, nan, nan, 1, 1]);
  expect([...rowStats(Float32Array.of(), 'F32', 2)]).toEqual([]);
});

it('refuses values that are not whole rows', () => {
  for (const columns of [0, 2, Number.NaN])
    expect(() => rowStats(new Float32Array(3), 'F32', columns)).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
});

it.each([
  ['I32', Int32Array.of(-5, 7), [-5, 7, 1, Math.sqrt(37), 7, 0, 0]],
  ['BF16', Uint16Array.of(0x3f80, 0xc040), [-3, 1, -1, Math.sqrt(5), 3, 0, 0]],
  ['F16', Uint16Array.of(0x3c00, 0x7c00), [1, 1, 1, 1, 1, 0, 1]],
] as const)('gives row statistics of %s', (dtype, values, expected) => {
  expect([...rowStats(values, dtype, 2)]).toEqual(expected);
});
