/**
 * Faults that change a value and are not named first, by kind of dump: what is known to be beyond `locate`.
 * In a program of unknown dtypes these are as large as that dtype's own rounding, and change as many elements
 * as rounding in other places would.
 */
const UNKNOWN_KINDS = ['BF16', 'BF16 in F32', 'F16', 'F16 in F32'];
const AS_ROUNDING = ['gelu-tanh', 'branch-scale-before-bias'];

export const MISSED: ReadonlySet<string> = new Set([
  ...UNKNOWN_KINDS.flatMap((kind) => AS_ROUNDING.map((fault) => `unknown program, ${kind}: ${fault}`)),
]);
