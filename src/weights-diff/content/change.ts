/** What converters do to single values, and how large an error a dtype explains. */

/** A change of every value of the reference, and back. */
export type Change = 'none' | 'plus 1' | 'minus 1' | 'minus exp of it' | 'log of minus it';

interface Way {
  done(value: number): number;
  undone(value: number): number;
}

const WAYS: Readonly<Record<Change, Way>> = {
  none: { done: (value) => value, undone: (value) => value },
  'plus 1': { done: (value) => value + 1, undone: (value) => value - 1 },
  'minus 1': { done: (value) => value - 1, undone: (value) => value + 1 },
  'minus exp of it': { done: (value) => -Math.exp(value), undone: (value) => Math.log(-value) },
  'log of minus it': { done: (value) => Math.log(-value), undone: (value) => -Math.exp(value) },
};

export const CHANGES = Object.keys(WAYS) as Change[];

/** The value that the reference must have had. */
export function undone(change: Change, value: number): number {
  return WAYS[change].undone(value);
}

/** The value that a converter makes of the reference's. */
export function done(change: Change, values: Float32Array): Float32Array {
  return change === 'none' ? values : values.map(WAYS[change].done);
}

/** Squared differences over the reference's variance that storing both sides in these dtypes explains. */
export function explainedBy(...dtypes: readonly string[]): number {
  return Math.max(...dtypes.map(errorOf));
}

function errorOf(dtype: string): number {
  if (dtype === 'F32') return 1e-9;
  if (dtype === 'F16') return 1e-5;
  if (dtype === 'BF16') return 1e-4;
  if (dtype.startsWith('Q8')) return 1e-3;
  if (/^Q[56]/.test(dtype)) return 1e-2;
  if (/^(Q4|IQ4|MXFP4|NVFP4)/.test(dtype)) return 0.05;
  return /^I?Q3/.test(dtype) ? 0.15 : 0.4;
}

/**
 * Whether a candidate is beyond doubt: near enough for its dtypes, and the next one far behind. Unrelated
 * weights are about 2 apart.
 */
export function isClear(best: number, next: number, explained: number): boolean {
  return best <= explained && next >= Math.max(25e-9, 4 * best, Math.min(25 * best, 0.5));
}
