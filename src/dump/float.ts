import type { TapDtype } from './format.js';

/** Elements as a dump stores them: F32 as floats, F16 and BF16 as their bits, I32 as integers. */
export type TapElements = Float32Array | Uint16Array | Int32Array;

/** `values` as floats: exact for F32, F16 and BF16; I32 beyond 2^24 rounds. F32 comes back as it is, without a copy. */
export function toFloat32(values: TapElements, dtype: TapDtype): Float32Array {
  if (values instanceof Float32Array) return values;
  if (dtype === 'I32') return Float32Array.from(values);
  return widen(values as Uint16Array, dtype, new Float32Array(values.length));
}

/** `values` as doubles: exact for all dtypes. */
export function toFloat64(values: TapElements, dtype: TapDtype): Float64Array {
  if (dtype === 'F32' || dtype === 'I32') return Float64Array.from(values);
  return Float64Array.from(widen(values as Uint16Array, dtype, new Float32Array(values.length)));
}

/** Writes the values of F16 or BF16 bits into the start of `out`, exactly; NaNs stay NaNs. @returns the part of `out` written. */
export function widen(bits: Uint16Array, dtype: TapDtype, out: Float32Array): Float32Array {
  const part = out.subarray(0, bits.length);
  if (dtype === 'BF16') {
    const words = new Uint32Array(part.buffer, part.byteOffset, part.length);
    for (let k = 0; k < bits.length; k++) words[k] = bits[k]! << 16;
  } else {
    halfTable ??= makeHalfTable();
    const table = halfTable;
    for (let k = 0; k < bits.length; k++) part[k] = table[bits[k]!]!;
  }
  return part;
}

let halfTable: Float32Array | undefined;

/** All 65,536 halves: a look-up is several times faster than assembling each. */
function makeHalfTable(): Float32Array {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits >> 15 === 0 ? 1 : -1;
    if (exponent === 31) table[bits] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else table[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return table;
}
