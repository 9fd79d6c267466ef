import { unmet } from '../errors.js';
import { canDequantise, dequantise } from './dequantise.js';
import { isExact, isQuantised, type TapDtype } from './dtypes.js';
import { widen } from './widen.js';

/**
 * Elements as a dump stores them: floats and integers as such, F16 and BF16 as their bits, BOOL as bytes of 0
 * and 1, quantised types as the bytes of their blocks. I64 is a `BigInt64Array`, which the type leaves out so
 * that arithmetic on all others needs no cast; arithmetic that takes it for numbers throws and never rounds.
 * `toBigInt64` gives it under its own type, `toFloat64` as numbers.
 */
export type TapElements =
  | Float32Array
  | Uint16Array
  | Int32Array
  | Float64Array
  | Int16Array
  | Int8Array
  | Uint8Array;

/**
 * `values` as floats: exact for F32, F16, BF16, integers up to 2^24 and the quantised types that are decoded
 * here; F64 and larger integers round. F32 comes back as it is, without a copy. Throws `DTYPE_UNSUPPORTED`
 * for a quantised type that only ggml decodes.
 */
export function toFloat32(values: TapElements, dtype: TapDtype): Float32Array {
  if (values instanceof Float32Array) return values;
  if (isQuantised(dtype)) return dequantise(values as Uint8Array, dtype);
  if (dtype === 'F16' || dtype === 'BF16')
    return widen(values as Uint16Array, dtype, new Float32Array(values.length));
  return Float32Array.from(plainNumbers(values));
}

/** `values` as doubles: exact for all dtypes but I64 beyond 2^53. Throws as {@link toFloat32}. */
export function toFloat64(values: TapElements, dtype: TapDtype): Float64Array {
  const bits = isQuantised(dtype) || dtype === 'F16' || dtype === 'BF16';
  return Float64Array.from(bits ? toFloat32(values, dtype) : plainNumbers(values));
}

/** Integers and truth values in 64 bits, exactly. Throws `DTYPE_UNSUPPORTED` for other dtypes. */
export function toBigInt64(values: TapElements, dtype: TapDtype): BigInt64Array {
  if (!isExact(dtype)) throw unmet('DTYPE_UNSUPPORTED', 'toBigInt64', 'integers', dtype, { dtypes: [dtype] });
  const stored: TapElements | BigInt64Array = values;
  return stored instanceof BigInt64Array ? stored : BigInt64Array.from(values, BigInt);
}

/** True for dtypes whose values are available as numbers here. */
export function hasNumbers(dtype: TapDtype): boolean {
  return !isQuantised(dtype) || canDequantise(dtype);
}

/** Elements that are numbers as they lie; I64 rounded to doubles. */
function plainNumbers(values: TapElements): ArrayLike<number> {
  const stored: TapElements | BigInt64Array = values;
  return stored instanceof BigInt64Array ? Float64Array.from(stored, Number) : values;
}

/** Stored bytes as elements, without a copy; their start must be aligned to an element. */
export function elementsOf(dtype: TapDtype, { buffer, byteOffset, byteLength }: Uint8Array): TapElements {
  const Elements = ARRAYS[arrayName(dtype)];
  return new Elements(buffer as ArrayBuffer, byteOffset, byteLength / Elements.BYTES_PER_ELEMENT);
}

/** A fresh array of the kind of `data`. */
export function emptyLike(data: TapElements, length: number): TapElements {
  return new (data.constructor as Float32ArrayConstructor)(length);
}

/** Copies elements of one kind: `from` into `to` from element `at` on. */
export function copyElements(to: TapElements, from: TapElements, at: number): void {
  (to as Float32Array).set(from as Float32Array, at);
}

/** One element as a number, exactly but for I64 beyond 2^53, which rounds. */
export function numberAt(data: TapElements, index: number): number {
  return Number(data[index]!);
}

const ARRAYS = {
  F32: Float32Array,
  BITS: Uint16Array,
  I32: Int32Array,
  F64: Float64Array,
  I64: BigInt64Array as unknown as Float64ArrayConstructor,
  I16: Int16Array,
  I8: Int8Array,
  BYTES: Uint8Array,
} as const;

function arrayName(dtype: TapDtype): keyof typeof ARRAYS {
  if (dtype === 'F16' || dtype === 'BF16') return 'BITS';
  return dtype in ARRAYS ? (dtype as keyof typeof ARRAYS) : 'BYTES';
}
