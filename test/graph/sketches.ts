import type { OpSketch } from './op-sketch.js';
import { ARITHMETIC_SKETCHES } from './sketches-arithmetic.js';
import { LAYOUT_SKETCHES } from './sketches-layout.js';
import { PRODUCT_SKETCHES } from './sketches-products.js';
import { ROW_SKETCHES } from './sketches-rows.js';

/** What the tests know about every op of the vocabulary. */
export const SKETCHES: readonly OpSketch[] = [
  ...LAYOUT_SKETCHES,
  ...ARITHMETIC_SKETCHES,
  ...ROW_SKETCHES,
  ...PRODUCT_SKETCHES,
];
