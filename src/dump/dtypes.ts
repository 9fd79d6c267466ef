/** Element types of taps: how each is stored, and what kind of number it is. */
import {
  blockSize,
  type Dtype,
  blockBytes as ggmlBlockBytes,
  ggmlType,
  INTERMEDIATE_TYPES,
  QUANTIZED_DTYPES,
} from '../dtype.js';

/**
 * Plain types by name: bytes of an element, and `float`, `integer` or `boolean`. F16 and BF16 are stored as
 * their bits; nothing is widened. A BOOL is a byte, 0 or 1.
 */
const PLAIN = {
  F32: { bytes: 4, kind: 'float' },
  F16: { bytes: 2, kind: 'float' },
  BF16: { bytes: 2, kind: 'float' },
  I32: { bytes: 4, kind: 'integer' },
  F64: { bytes: 8, kind: 'float' },
  I64: { bytes: 8, kind: 'integer' },
  I16: { bytes: 2, kind: 'integer' },
  I8: { bytes: 1, kind: 'integer' },
  U8: { bytes: 1, kind: 'integer' },
  BOOL: { bytes: 1, kind: 'boolean' },
} as const;

/** A type whose elements stand alone. */
export type PlainDtype = keyof typeof PLAIN;

/**
 * A type whose elements share scales, block by block along the last axis; stored as the bytes of its blocks.
 */
export type QuantisedDtype = Exclude<Dtype, PlainDtype> | keyof typeof INTERMEDIATE_TYPES;

/** Quantised types in ggml's order: its number, elements and bytes of a block. */
const QUANTISED = new Map<string, readonly [type: number, elements: number, bytes: number]>(
  [
    ...QUANTIZED_DTYPES.map(
      (dtype) => [dtype, [ggmlType(dtype), blockSize(dtype), ggmlBlockBytes(dtype)]] as const,
    ),
    ...Object.entries(INTERMEDIATE_TYPES).map(
      ([dtype, each]) => [dtype, [each.type, each.blockSize, each.blockBytes]] as const,
    ),
  ].sort(([, [a]], [, [b]]) => a - b),
);

/** Element types of taps. */
export type TapDtype = PlainDtype | QuantisedDtype;

/** Whether values are compared by their error, exactly, or as the blocks that they are stored in. */
export type DtypeKind = 'float' | 'integer' | 'boolean' | 'quantised';

/** All element types of version 2. */
export const TAP_DTYPES: readonly TapDtype[] = [
  ...(Object.keys(PLAIN) as PlainDtype[]),
  ...([...QUANTISED.keys()] as QuantisedDtype[]),
];

/** The element types of version 1. */
export const DTYPES_OF_VERSION_1: readonly TapDtype[] = ['F32', 'F16', 'BF16', 'I32'];

/** True for types stored as blocks. */
export function isQuantised(dtype: TapDtype): dtype is QuantisedDtype {
  return QUANTISED.has(dtype);
}

/** What kind of number a type is. */
export function dtypeKind(dtype: TapDtype): DtypeKind {
  return isQuantised(dtype) ? 'quantised' : PLAIN[dtype].kind;
}

/** True for types that are compared exactly: integers of all widths, and BOOL. */
export function isExact(dtype: TapDtype): boolean {
  const kind = dtypeKind(dtype);
  return kind === 'integer' || kind === 'boolean';
}

/** ggml's number of a type that ggml has: all but `U8` and `BOOL`. */
export function tapType(dtype: TapDtype): number {
  return QUANTISED.get(dtype)?.[0] ?? ggmlType(dtype as Dtype);
}

/** Elements that are stored together: 1 for plain types. The last axis is a multiple of it. */
export function blockElements(dtype: TapDtype): number {
  return isQuantised(dtype) ? QUANTISED.get(dtype)![1] : 1;
}

/** Bytes of {@link blockElements} elements. */
export function tapBlockBytes(dtype: TapDtype): number {
  return isQuantised(dtype) ? QUANTISED.get(dtype)![2] : PLAIN[dtype].bytes;
}

/** Bytes of `elements` elements, which are whole blocks. */
export function storedBytes(dtype: TapDtype, elements: number): number {
  return (elements / blockElements(dtype)) * tapBlockBytes(dtype);
}

/** Items of an Arrow column that hold `elements` elements: as many, or the bytes of quantised blocks. */
export function storedItems(dtype: TapDtype, elements: number): number {
  return isQuantised(dtype) ? storedBytes(dtype, elements) : elements;
}

/** Bytes of one item of an Arrow column. */
export function itemBytes(dtype: TapDtype): number {
  return isQuantised(dtype) ? 1 : PLAIN[dtype].bytes;
}
