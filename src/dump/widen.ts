import type { TapDtype } from './dtypes.js';

/**
 * Writes the values of F16 or BF16 bits into the start of `out`, exactly; NaNs stay NaNs. @returns the part
 * of `out` written.
 */
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
