import { ZayascopeError } from './errors.js';

/**
 * Element types, spelled as ggml prints them in upper case. `type` is ggml's numeric `enum ggml_type`;
 * `blockSize` elements occupy `blockBytes` bytes (1 element per block except for the quantised types).
 */
const TABLE = {
  F32: { type: 0, blockSize: 1, blockBytes: 4 },
  F16: { type: 1, blockSize: 1, blockBytes: 2 },
  Q4_0: { type: 2, blockSize: 32, blockBytes: 18 },
  Q4_1: { type: 3, blockSize: 32, blockBytes: 20 },
  Q5_0: { type: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { type: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { type: 8, blockSize: 32, blockBytes: 34 },
  Q2_K: { type: 10, blockSize: 256, blockBytes: 84 },
  Q3_K: { type: 11, blockSize: 256, blockBytes: 110 },
  Q4_K: { type: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { type: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { type: 14, blockSize: 256, blockBytes: 210 },
  IQ2_XXS: { type: 16, blockSize: 256, blockBytes: 66 },
  IQ2_XS: { type: 17, blockSize: 256, blockBytes: 74 },
  IQ3_XXS: { type: 18, blockSize: 256, blockBytes: 98 },
  IQ1_S: { type: 19, blockSize: 256, blockBytes: 50 },
  IQ4_NL: { type: 20, blockSize: 32, blockBytes: 18 },
  IQ3_S: { type: 21, blockSize: 256, blockBytes: 110 },
  IQ2_S: { type: 22, blockSize: 256, blockBytes: 82 },
  IQ4_XS: { type: 23, blockSize: 256, blockBytes: 136 },
  I8: { type: 24, blockSize: 1, blockBytes: 1 },
  I16: { type: 25, blockSize: 1, blockBytes: 2 },
  I32: { type: 26, blockSize: 1, blockBytes: 4 },
  I64: { type: 27, blockSize: 1, blockBytes: 8 },
  F64: { type: 28, blockSize: 1, blockBytes: 8 },
  IQ1_M: { type: 29, blockSize: 256, blockBytes: 56 },
  BF16: { type: 30, blockSize: 1, blockBytes: 2 },
  TQ1_0: { type: 34, blockSize: 256, blockBytes: 54 },
  TQ2_0: { type: 35, blockSize: 256, blockBytes: 66 },
  MXFP4: { type: 39, blockSize: 32, blockBytes: 17 },
  NVFP4: { type: 40, blockSize: 64, blockBytes: 36 },
  Q1_0: { type: 41, blockSize: 128, blockBytes: 18 },
  Q2_0: { type: 42, blockSize: 64, blockBytes: 18 },
} as const;

/**
 * Types that ggml has for intermediate results only: no model can be read in them, but a recording of ggml's
 * nodes may hold them.
 */
export const INTERMEDIATE_TYPES = {
  Q8_1: { type: 9, blockSize: 32, blockBytes: 36 },
  Q8_K: { type: 15, blockSize: 256, blockBytes: 292 },
} as const;

/** Types of ggml that no model file can be read in: intermediate ones, and those that ggml has given up. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  4: 'Q4_2 (removed from ggml)',
  5: 'Q4_3 (removed from ggml)',
  9: 'Q8_1 (intermediate results only)',
  15: 'Q8_K (intermediate results only)',
  31: 'Q4_0_4_4 (removed from ggml: quantise again as Q4_0)',
  32: 'Q4_0_4_8 (removed from ggml: quantise again as Q4_0)',
  33: 'Q4_0_8_8 (removed from ggml: quantise again as Q4_0)',
  36: 'IQ4_NL_4_4 (removed from ggml: quantise again as IQ4_NL)',
  37: 'IQ4_NL_4_8 (removed from ggml: quantise again as IQ4_NL)',
  38: 'IQ4_NL_8_8 (removed from ggml: quantise again as IQ4_NL)',
};

/** The name of an element type, e.g. `'F32'`, `'BF16'`, `'Q4_K'`. */
export type Dtype = keyof typeof TABLE;

/** All element types that the library knows, in ggml's numeric order. */
export const DTYPES = Object.keys(TABLE) as readonly Dtype[];

/** ggml's numeric `enum ggml_type` of a dtype. */
export function ggmlType(dtype: Dtype): number {
  return TABLE[dtype].type;
}

/** The name of a ggml type for a message, also of one that is no {@link Dtype}. */
export function ggmlTypeName(type: number): string {
  return (
    DTYPES.find((dtype) => TABLE[dtype].type === type) ??
    OTHER_TYPES[type] ??
    `type ${type} (unknown to ggml)`
  );
}

/**
 * The dtype with the given ggml number. Throws `DTYPE_UNSUPPORTED` for a type that this library does not
 * know.
 */
export function dtypeFromGgml(type: number): Dtype {
  const found = DTYPES.find((dtype) => TABLE[dtype].type === type);
  if (found === undefined)
    throw new ZayascopeError(
      'DTYPE_UNSUPPORTED',
      `dtypeFromGgml: expected a known ggml type, got ${ggmlTypeName(type)}`,
    );
  return found;
}

/** Elements per block: 1 for plain types, 32 or 256 for quantised ones. */
export function blockSize(dtype: Dtype): number {
  return TABLE[dtype].blockSize;
}

/** Bytes per block of {@link blockSize} elements. */
export function blockBytes(dtype: Dtype): number {
  return TABLE[dtype].blockBytes;
}

/** True for types that store scale and integers per block (Q8_0, Q4_K, ...). */
export function isQuantized(dtype: Dtype): boolean {
  return TABLE[dtype].blockSize > 1;
}

/** All dtypes that store scale and integers per block. */
export const QUANTIZED_DTYPES: readonly Dtype[] = DTYPES.filter(isQuantized);

/**
 * Bytes of `elements` contiguous values. `elements` must be a multiple of the block size, else
 * `SHAPE_MISMATCH`.
 */
export function sizeBytes(dtype: Dtype, elements: number): number {
  const { blockSize: block, blockBytes: bytes } = TABLE[dtype];
  if (elements % block !== 0)
    throw new ZayascopeError(
      'SHAPE_MISMATCH',
      `sizeBytes: ${dtype} stores blocks of ${block} elements, got ${elements} elements`,
      { dtypes: [dtype] },
    );
  return (elements / block) * bytes;
}
