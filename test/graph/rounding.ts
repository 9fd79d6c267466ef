import type { Dtype } from '../../src/dtype.js';

/**
 * Nearest value with `bits` significant bits, ties to even, exponents from `lowest` (below it, steps of
 * 2^(lowest − bits + 1)); beyond `largest` infinite.
 */
function roundBinary(value: number, bits: number, lowest: number, largest: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const exponent = Math.max(lowest, Math.floor(Math.log2(Math.abs(value))));
  const step = 2 ** (exponent - bits + 1);
  const scaled = value / step; // exact: a power of two
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const rounded = (floor + (up ? 1 : 0)) * step;
  return Math.abs(rounded) > largest ? Math.sign(rounded) * Infinity : rounded;
}

/** Nearest F16, ties to even. */
export function toF16(value: number): number {
  return roundBinary(value, 11, -14, 65504);
}

/** Nearest BF16, ties to even. */
export function toBf16(value: number): number {
  return roundBinary(value, 8, -126, (2 - 2 ** -7) * 2 ** 127);
}

/**
 * The value as it is stored in a plain dtype. Half-width results pass through F32 first, as ggml computes
 * them.
 */
export function roundTo(dtype: Dtype, value: number): number {
  switch (dtype) {
    case 'F32':
      return Math.fround(value);
    case 'F16':
      return toF16(Math.fround(value));
    case 'BF16':
      return toBf16(Math.fround(value));
    case 'F64':
      return value;
    default:
      return Math.trunc(value);
  }
}

/** Plain dtypes as bytes, little-endian. The values must be representable. */
export function encode(dtype: Dtype, values: Float64Array): Uint8Array {
  const array = encoded(dtype, values);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function encoded(dtype: Dtype, values: Float64Array): ArrayBufferView {
  switch (dtype) {
    case 'F32':
      return Float32Array.from(values);
    case 'F16':
      return Uint16Array.from(values, bitsOfF16);
    case 'BF16':
      return Uint16Array.from(values, (value) => new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16);
    case 'F64':
      return values;
    case 'I8':
      return Int8Array.from(values);
    case 'I16':
      return Int16Array.from(values);
    case 'I32':
      return Int32Array.from(values);
    case 'I64':
      return BigInt64Array.from(Array.from(values, BigInt));
    default:
      throw new Error(`encode: ${dtype} is not a plain dtype`);
  }
}

/** Bytes of a plain dtype as numbers. */
export function decode(dtype: Dtype, bytes: Uint8Array): Float64Array {
  const { buffer } = bytes.slice();
  switch (dtype) {
    case 'F32':
      return Float64Array.from(new Float32Array(buffer));
    case 'F16':
      return Float64Array.from(new Uint16Array(buffer), f16FromBits);
    case 'BF16':
      return Float64Array.from(
        new Uint16Array(buffer),
        (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!,
      );
    case 'F64':
      return new Float64Array(buffer);
    case 'I8':
      return Float64Array.from(new Int8Array(buffer));
    case 'I16':
      return Float64Array.from(new Int16Array(buffer));
    case 'I32':
      return Float64Array.from(new Int32Array(buffer));
    case 'I64':
      return Float64Array.from(new BigInt64Array(buffer), Number);
    default:
      throw new Error(`decode: ${dtype} is not a plain dtype`);
  }
}

function bitsOfF16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  return sign | ((exponent + 15) << 10) | ((magnitude / 2 ** exponent - 1) * 1024);
}

function f16FromBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
