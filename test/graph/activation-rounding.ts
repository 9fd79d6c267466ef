import type { Dtype } from '../../src/dtype.js';
import { map, mapRows, type NdArray } from './nd-array.js';
import { toBf16, toF16 } from './rounding.js';

/** An F32 operand as ggml's CPU backend rounds it before it multiplies with a matrix of this dtype. */
export function roundActivations(matrix: Dtype, values: NdArray): NdArray {
  switch (matrix) {
    case 'F32':
      return values;
    case 'F16':
      return map(values, toF16);
    case 'BF16':
      return map(values, toBf16);
    case 'Q4_0':
    case 'Q4_1':
    case 'Q5_0':
    case 'Q5_1':
    case 'Q8_0':
    case 'IQ4_NL':
    case 'MXFP4':
    case 'NVFP4':
    case 'Q1_0':
    case 'Q2_0':
      return mapRows(values, (row) => inBlocks(row, 32, roundQ8Block));
    default:
      return mapRows(values, (row) => inBlocks(row, 256, roundQ8KBlock));
  }
}

function inBlocks(row: Float64Array, size: number, round: (block: Float64Array) => number[]): number[] {
  const rounded: number[] = [];
  for (let start = 0; start < row.length; start += size)
    rounded.push(...round(row.subarray(start, start + size)));
  return rounded;
}

// Q8_0 and Q8_1: 127 steps to the largest magnitude; the scale is stored as F16.
function roundQ8Block(block: Float64Array): number[] {
  const largest = Math.max(...block.map(Math.abs));
  const scale = toF16(Math.fround(largest / 127));
  const inverse = largest === 0 ? 0 : Math.fround(127 / largest);
  return Array.from(block, (value) => nearestEven(Math.fround(value * inverse)) * scale);
}

// Q8_K: the value of largest magnitude becomes −127; the scale is F32.
function roundQ8KBlock(block: Float64Array): number[] {
  const largest = block.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  if (largest === 0) return Array.from(block, () => 0);
  const inverse = Math.fround(-127 / largest);
  const scale = Math.fround(1 / inverse);
  return Array.from(block, (value) => Math.min(127, nearestEven(Math.fround(value * inverse))) * scale);
}

function nearestEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
