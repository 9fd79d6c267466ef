/** Which of the types that GGUF files store weights in hold given values as they are. */
import { narrow } from './rounding.js';

/**
 * Types whose blocks are a smallest value and whole steps above it: elements of a block and most steps.
 * Coarsest first, for a finer grid holds what a coarser one does.
 */
const GRIDS: readonly [type: string, elements: number, steps: number][] = [
  ['a type of 4 bits (Q4_0, Q4_1, Q4_K)', 32, 15],
  ['a type of 5 bits (Q5_0, Q5_1, Q5_K)', 32, 31],
  ['Q6_K', 16, 63],
  ['Q8_0', 32, 254],
];
/** How far from a whole number of steps a value may lie: F32 rounds scale, product and offset. */
const TOLERANCE = 2e-3;

/** Names of the types that hold all values, coarsest first. @param width of a row: blocks end with it. */
export function isOnGrid(values: Float32Array, width: number): string[] {
  const fits = { BF16: true, F16: true };
  narrow(values, fits);
  const halves = (['BF16', 'F16'] as const).filter((dtype) => fits[dtype]);
  const grids = GRIDS.filter(([, elements, steps]) => {
    if (width % elements !== 0) return false;
    for (let start = 0; start < values.length; start += elements)
      if (!isBlock(values.subarray(start, start + elements), steps)) return false;
    return values.length > 0;
  });
  return [...grids.map(([type]) => type), ...halves];
}

/** True for values that are whole steps above their least one, for some step. */
function isBlock(block: Float32Array, most: number): boolean {
  const least = block.reduce((a, b) => Math.min(a, b));
  const range = block.reduce((a, b) => Math.max(a, b)) - least;
  if (range === 0) return true;
  if (!Number.isFinite(range)) return false;
  for (let steps = 1; steps <= most; steps++) {
    const step = range / steps;
    const isWhole = (value: number) => {
      const at = (value - least) / step;
      return Math.abs(at - Math.round(at)) <= TOLERANCE;
    };
    if (block.every(isWhole)) return true;
  }
  return false;
}
