import { blockBytes, blockSize, type Dtype } from '../dtype.js';

/**
 * Types whose quantiser first makes tables for seconds (8 s of processor time for the two of 1 bit), and the
 * scales that bring their values near 1.
 */
const SCALES: Partial<Record<Dtype, readonly [number, number]>> = {
  IQ2_XXS: [0x1d00, 0x2500], // 0.005 .. 0.02 as F16
  IQ2_XS: [0x1d00, 0x2500],
  IQ2_S: [0x1d00, 0x2500],
  IQ1_S: [0x2a00, 0x2e00], // 0.05 .. 0.1
  IQ1_M: [0x2a00, 0x2e00],
};

/**
 * Blocks of a type of 1 or 2 bits that hold any bits but for a scale within bounds: each is one that a
 * quantiser could have written. Undefined for other types, which ggml quantises at once.
 *
 * @param unit Draws uniformly from 0 (inclusive) .. 1 (exclusive).
 */
export function randomBlocks(dtype: Dtype, elements: number, unit: () => number): Uint8Array | undefined {
  const bounds = SCALES[dtype];
  if (bounds === undefined) return undefined;
  const size = blockBytes(dtype);
  const blocks = elements / blockSize(dtype);
  const scales = Array.from(
    { length: blocks },
    () => bounds[0] + Math.floor(unit() * (bounds[1] - bounds[0])),
  );
  const bytes = Uint8Array.from({ length: blocks * size }, () => Math.floor(unit() * 256));
  const view = new DataView(bytes.buffer);
  for (const [index, scale] of scales.entries()) {
    const block = index * size;
    if (dtype !== 'IQ1_M') view.setUint16(block, scale, true);
    // four bits of the scale are the upper ones of each of the last four 16-bit words
    else
      for (let word = 0; word < 4; word++) {
        const at = block + size - 8 + 2 * word;
        const nibble = (scale >> (4 * word)) & 0xf;
        view.setUint16(at, (view.getUint16(at, true) & 0x0fff) | (nibble << 12), true);
      }
  }
  return bytes;
}
