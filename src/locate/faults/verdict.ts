/** How good a value is, against a noise floor where one was measured. */
export type Verdict = 'identical' | 'within noise' | 'above noise' | 'broken';

/**
 * Noise ratios (of relative L2 errors) up to which a value is within its noise, and beyond which it is
 * broken.
 */
export const NOISE_RATIO = { good: 1.5, bad: 3 } as const;

/** Bhattacharyya coefficient of the error histograms from which an error has the shape of the noise. */
const NOISE_SHAPE = 0.99;

/**
 * Energy NMSE without a noise floor: `good` is what F32 arithmetic in another order leaves after tens of
 * blocks, `bad` what llama.cpp's logit check calls a failure.
 */
const PLAIN_NMSE = { good: 1e-8, bad: 1e-2 } as const;

/** An error and, where it was measured, what it is judged by. */
export interface JudgedError {
  /** Energy NMSE of the tested value; Infinity where NaN or infinity is on one side only. */
  nmse: number;
  /** Energy NMSE of the reference's own low-precision run; undefined: not measured. */
  noiseNmse?: number;
  /** Of the two error histograms; undefined: not measured. */
  bhattacharyya?: number;
}

/**
 * ‖error‖ / ‖noise‖: the square root of the ratio of the two energy NMSEs. No error: 0, whatever the noise;
 * error without noise: Infinity.
 */
export function noiseRatio(nmse: number, noiseNmse: number): number {
  if (nmse === 0) return 0;
  return noiseNmse === 0 ? Number.POSITIVE_INFINITY : Math.sqrt(nmse / noiseNmse);
}

/**
 * With a noise floor: `within noise` up to a ratio of 1.5, or up to 3 where the errors are also distributed
 * as the noise is; `above noise` up to 3; `broken` beyond. Without: by energy NMSE, up to 1e-8 and up to
 * 1e-2.
 */
export function judge({ nmse, noiseNmse, bhattacharyya = 0 }: JudgedError): Verdict {
  if (nmse === 0) return 'identical';
  const [size, { good, bad }] =
    noiseNmse === undefined ? [nmse, PLAIN_NMSE] : [noiseRatio(nmse, noiseNmse), NOISE_RATIO];
  if (size <= good || (noiseNmse !== undefined && size <= bad && bhattacharyya >= NOISE_SHAPE))
    return 'within noise';
  return size <= bad ? 'above noise' : 'broken';
}
