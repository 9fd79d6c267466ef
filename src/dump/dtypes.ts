/** Element types of taps: how each is stored, and what kind of number it is. */

/**
 * Plain types by name: bytes of an element, and `float`, `integer` or `boolean`. F16 and BF16 are stored as their bits; nothing is widened.
 * A BOOL is a byte, 0 or 1.
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

/**
 * ggml's quantised types: elements per block, and bytes per block. Sizes are those of ggml-common.h:
 * https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
 */
const QUANTISED = {
  Q4_0: [32, 18],
  Q4_1: [32, 20],
  Q5_0: [32, 22],
  Q5_1: [32, 24],
  Q8_0: [32, 34],
  Q8_1: [32, 36],
  Q2_K: [256, 84],
  Q3_K: [256, 110],
  Q4_K: [256, 144],
  Q5_K: [256, 176],
  Q6_K: [256, 210],
  Q8_K: [256, 292],
  IQ2_XXS: [256, 66],
  IQ2_XS: [256, 74],
  IQ3_XXS: [256, 98],
  IQ1_S: [256, 50],
  IQ4_NL: [32, 18],
  IQ3_S: [256, 110],
  IQ2_S: [256, 82],
  IQ4_XS: [256, 136],
  IQ1_M: [256, 56],
  TQ1_0: [256, 54],
  TQ2_0: [256, 66],
  MXFP4: [32, 17],
  NVFP4: [64, 36],
  Q1_0: [128, 18],
  Q2_0: [64, 18],
} as const;

/** A type whose elements stand alone. */
export type PlainDtype = keyof typeof PLAIN;

/** A type whose elements share scales, block by block along the last axis; stored as the bytes of its blocks. */
export type QuantisedDtype = keyof typeof QUANTISED;

/** Element types of taps. */
export type TapDtype = PlainDtype | QuantisedDtype;

/** Whether values are compared by their error, exactly, or as the blocks that they are stored in. */
export type DtypeKind = 'float' | 'integer' | 'boolean' | 'quantised';

/** All element types of version 2. */
export const TAP_DTYPES: readonly TapDtype[] = [
  ...(Object.keys(PLAIN) as PlainDtype[]),
  ...(Object.keys(QUANTISED) as QuantisedDtype[]),
];

/** The element types of version 1. */
export const DTYPES_OF_VERSION_1: readonly TapDtype[] = ['F32', 'F16', 'BF16', 'I32'];

/** True for types stored as blocks. */
export function isQuantised(dtype: TapDtype): dtype is QuantisedDtype {
  return dtype in QUANTISED;
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

/** Elements that are stored together: 1 for plain types. The last axis is a multiple of it. */
export function blockElements(dtype: TapDtype): number {
  return isQuantised(dtype) ? QUANTISED[dtype][0] : 1;
}

/** Bytes of {@link blockElements} elements. */
export function blockBytes(dtype: TapDtype): number {
  return isQuantised(dtype) ? QUANTISED[dtype][1] : PLAIN[dtype].bytes;
}

/** Bytes of `elements` elements, which are whole blocks. */
export function storedBytes(dtype: TapDtype, elements: number): number {
  return (elements / blockElements(dtype)) * blockBytes(dtype);
}

/** Items of an Arrow column that hold `elements` elements: as many, or the bytes of quantised blocks. */
export function storedItems(dtype: TapDtype, elements: number): number {
  return isQuantised(dtype) ? storedBytes(dtype, elements) : elements;
}

/** Bytes of one item of an Arrow column. */
export function itemBytes(dtype: TapDtype): number {
  return isQuantised(dtype) ? 1 : PLAIN[dtype].bytes;
}
