// The inner loops of comparing, in SIMD. AssemblyScript, compiled by scripts/build-wasm.mjs and called by
// src/simd.ts, which says what each does; pointers are byte offsets into the module's memory, counts are
// elements. Nothing is allocated here.

export { sumsF32 } from './sums';
export { ulpBF16, ulpF16, ulpF32 } from './ulp';
export { widenBF16, widenF16 } from './widen';
