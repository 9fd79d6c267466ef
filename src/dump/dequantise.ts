import { unmet } from '../errors.js';
import { blockElements, type TapDtype, tapBlockBytes } from './dtypes.js';
import { widen } from './widen.js';

/**
 * Decodes one block: `bytes` from `at` on into `out` from `to` on. A product of a few bits and a half is
 * exact, so each value is rounded once, as in C.
 * https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c (dequantize_row_*)
 */
type BlockDecoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const HALF = 16;

const DECODERS: Partial<Record<TapDtype, BlockDecoder>> = {
  Q4_0: (bytes, at, out, to) => {
    const scale = half(bytes, at);
    for (let k = 0; k < HALF; k++) {
      const byte = bytes[at + 2 + k]!;
      out[to + k] = ((byte & 15) - 8) * scale;
      out[to + k + HALF] = ((byte >> 4) - 8) * scale;
    }
  },
  Q4_1: (bytes, at, out, to) => {
    const scale = half(bytes, at);
    const least = half(bytes, at + 2);
    for (let k = 0; k < HALF; k++) {
      const byte = bytes[at + 4 + k]!;
      out[to + k] = (byte & 15) * scale + least;
      out[to + k + HALF] = (byte >> 4) * scale + least;
    }
  },
  Q5_0: (bytes, at, out, to) => {
    const scale = half(bytes, at);
    for (let k = 0; k < HALF; k++) {
      const byte = bytes[at + 6 + k]!;
      out[to + k] = (((byte & 15) | (fifthBit(bytes, at + 2, k) << 4)) - 16) * scale;
      out[to + k + HALF] = (((byte >> 4) | (fifthBit(bytes, at + 2, k + HALF) << 4)) - 16) * scale;
    }
  },
  Q5_1: (bytes, at, out, to) => {
    const scale = half(bytes, at);
    const least = half(bytes, at + 2);
    for (let k = 0; k < HALF; k++) {
      const byte = bytes[at + 8 + k]!;
      const [low, high] = [fifthBit(bytes, at + 4, k), fifthBit(bytes, at + 4, k + HALF)];
      out[to + k] = ((byte & 15) | (low << 4)) * scale + least;
      out[to + k + HALF] = ((byte >> 4) | (high << 4)) * scale + least;
    }
  },
  Q8_0: (bytes, at, out, to) => {
    const scale = half(bytes, at);
    for (let k = 0; k < 2 * HALF; k++) out[to + k] = ((bytes[at + 2 + k]! << 24) >> 24) * scale;
  },
};

/** Bit `k` of the 32 bits that hold the fifth bits of a block. */
function fifthBit(bytes: Uint8Array, at: number, k: number): number {
  return (bytes[at + (k >> 3)]! >> (k & 7)) & 1;
}

const halfBits = new Uint16Array(1);
const halfValue = new Float32Array(1);

/** The F16 number at a byte, which need not be aligned. */
function half(bytes: Uint8Array, at: number): number {
  halfBits[0] = bytes[at]! | (bytes[at + 1]! << 8);
  return widen(halfBits, 'F16', halfValue)[0]!;
}

/** True for quantised types whose values are computed here, without ggml. */
export function canDequantise(dtype: TapDtype): boolean {
  return dtype in DECODERS;
}

/**
 * The values of quantised blocks, in F32, bit for bit as ggml computes them.
 * @param out memory for at least as many elements; default fresh. @returns the part of it written.
 * @throws `DTYPE_UNSUPPORTED` for a type that only ggml can decode.
 */
export function dequantise(bytes: Uint8Array, dtype: TapDtype, out?: Float32Array): Float32Array {
  const decode = DECODERS[dtype];
  if (decode === undefined)
    throw unmet(
      'DTYPE_UNSUPPORTED',
      'dequantise',
      `one of ${Object.keys(DECODERS).join(', ')}`,
      `${dtype}, which only ggml decodes`,
      { dtypes: [dtype] },
    );
  const blocks = bytes.length / tapBlockBytes(dtype);
  const elements = blockElements(dtype);
  const values = (out ?? new Float32Array(blocks * elements)).subarray(0, blocks * elements);
  for (let block = 0; block < blocks; block++)
    decode(bytes, block * tapBlockBytes(dtype), values, block * elements);
  return values;
}
