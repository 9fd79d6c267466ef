/** What the bits of a file without a mark say of its elements. */
import { toFloat32 } from '../float.js';

/** Dtypes that a file of raw logits may be said to have. */
export const RAW_DTYPES = ['F32', 'BF16', 'F16', 'F64'] as const;
/** One of {@link RAW_DTYPES}. */
export type RawDtype = (typeof RAW_DTYPES)[number];

/** Fewer values say nothing. */
const LEAST = 32;
/** Different low halves below which they are rounding (F16 widened to F32 has 8), not values. */
const LEAST_DIFFERENT = 16;

/**
 * Why elements are not the F32 logits that they are taken for, or undefined. Of F32 values the low half of
 * the bits is noise or zero. In a file of 16-bit floats it is a value as ordinary as its neighbour, and every
 * "F32" is its upper neighbour with more digits, which nothing else shows.
 *
 * @param bytes the first ones of the file, a multiple of 8.
 */
export function notFloat32(bytes: Uint8Array): string | undefined {
  const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1);
  const values = floats.filter((value) => value !== 0 && Number.isFinite(value));
  if (values.length >= 2 && values.every((value) => Math.abs(value) < MIN_NORMAL))
    return 'integers by their bits (token ids?)';
  if (floats.length < LEAST) return undefined;
  const strange = values.filter((value) => !(Math.abs(value) > 1e-12 && Math.abs(value) < 1e12));
  const isOrdinary64 = (value: number): boolean =>
    value === 0 || (Math.abs(value) > 1e-12 && Math.abs(value) < 1e6);
  const doubles = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3);
  if (strange.length * 8 > floats.length && doubles.every(isOrdinary64)) return 'F64 by their bits';
  const low = halves.filter((_, at) => at % 2 === 0);
  if (areFloats(low, 'BF16', 2 ** -16, 0.95)) return 'BF16 by their bits';
  if (areFloats(low, 'F16', 2 ** -12, 0.98)) return 'F16 by their bits';
  // A mask is one value many times.
  if (new Set(strange).size * 2 > new Set(values).size)
    return 'no logits: most are below 1e-12 or beyond 1e12 (integers, big-endian or packed data?)';
  return undefined;
}

const MIN_NORMAL = 2 ** -126;

/** Whether nearly all of some 16-bit patterns that are not zero are of the size of logits. */
function areFloats(bits: Uint16Array, dtype: 'BF16' | 'F16', least: number, share: number): boolean {
  const values = toFloat32(bits, dtype).filter((value) => value !== 0 && Number.isFinite(value));
  if (values.length < LEAST / 2 || values.length * 2 < bits.length) return false;
  if (new Set(values).size < LEAST_DIFFERENT) return false;
  return (
    values.filter((value) => Math.abs(value) >= least && Math.abs(value) < 2 ** 10).length >=
    share * values.length
  );
}
