import { ZayascopeError } from './errors.js';

/**
 * Element types, spelled as ggml prints them in upper case. `type` is ggml's numeric `enum ggml_type`; `blockSize` elements
 * occupy `blockBytes` bytes (1 element per block except for the quantised types).
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
  I8: { type: 24, blockSize: 1, blockBytes: 1 },
  I16: { type: 25, blockSize: 1, blockBytes: 2 },
  I32: { type: 26, blockSize: 1, blockBytes: 4 },
  I64: { type: 27, blockSize: 1, blockBytes: 8 },
  F64: { type: 28, blockSize: 1, blockBytes: 8 },
  BF16: { type: 30, blockSize: 1, blockBytes: 2 },
} as const;

/** The name of an element type, e.g. `'F32'`, `'BF16'`, `'Q4_K'`. */
export type Dtype = keyof typeof TABLE;

/** All element types that the library knows, in ggml's numeric order. */
export const DTYPES = Object.keys(TABLE) as readonly Dtype[];

/** ggml's numeric `enum ggml_type` of a dtype. */
export function ggmlType(dtype: Dtype): number {
  return TABLE[dtype].type;
}

/** The dtype with the given ggml number. Throws `DTYPE_UNSUPPORTED` for a type that this library does not know. */
export function dtypeFromGgml(type: number): Dtype {
  const found = DTYPES.find((dtype) => TABLE[dtype].type === type);
  if (found === undefined)
    throw new ZayascopeError('DTYPE_UNSUPPORTED', `dtypeFromGgml: expected a known ggml type, got ${type}`);
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

/** Bytes of `elements` contiguous values. `elements` must be a multiple of the block size, else `SHAPE_MISMATCH`. */
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
