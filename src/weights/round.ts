/**
 * Rounds values in place to nearest, ties to even, as a cast to the dtype and back does; F16 overflows to
 * infinity. NaN stays NaN.
 */
export function roundTo(dtype: 'BF16' | 'F16', values: Float32Array): void {
  if (dtype === 'BF16') roundToBf16(values);
  else roundToF16(values);
}

function roundToBf16(values: Float32Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < words.length; k++) {
    const word = words[k]!;
    if ((word & 0x7fffffff) > 0x7f800000) continue;
    words[k] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
}

/**
 * Adding this and taking it away again leaves multiples of 2^-24, the spacing of F16 below its normal
 * numbers.
 */
const TINY = 0.75;
/** Values from here on are nearer to 2^16 than to the largest F16. */
const OVERFLOW = 65520;

function roundToF16(values: Float32Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < words.length; k++) {
    const value = values[k]!;
    const size = Math.abs(value);
    if (!Number.isFinite(value)) continue;
    if (size >= OVERFLOW) values[k] = Math.sign(value) * Number.POSITIVE_INFINITY;
    else if (size < 2 ** -14) {
      const rounded = Math.fround(Math.fround(size + TINY) - TINY);
      values[k] = value < 0 || Object.is(value, -0) ? -rounded : rounded;
    } else {
      const word = words[k]!;
      words[k] = (word + 0xfff + ((word >>> 13) & 1)) & 0xffffe000;
    }
  }
}
