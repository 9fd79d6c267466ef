import { add, clamp, mul, scale, sub } from './ops-arithmetic.js';
import { cast } from './ops-layout.js';
import { requireDtype, requireShape } from './rules.js';
import type { Tensor } from './tensor.js';

/** Dtypes that values are rounded to. */
export type HalfDtype = 'BF16' | 'F16';

/**
 * Bits of a random number. An F32 lies on one of 2^16 places between two BF16 values, so that 16 give exact
 * odds; of F16 the subnormals are cut finer.
 */
export const RANDOM_BITS: Readonly<Record<HalfDtype, number>> = { BF16: 16, F16: 24 };

/**
 * `most`: the largest finite value. `reach`: more than half of the distance of neighbours and less than one
 * and a half, relative to the value; `least`: the same of subnormals.
 */
const GRIDS = {
  BF16: { most: (2 - 2 ** -7) * 2 ** 127, reach: 2 ** -8 + 2 ** -15, least: 0.75 * 2 ** -133 },
  F16: { most: 65504, reach: 2 ** -11 + 2 ** -18, least: 0.75 * 2 ** -24 },
} as const;

/** The square of it is larger than any F32 but for exponents: all but 0 are scaled beyond 1. */
const HUGE = 2 ** 100;

/**
 * `x` F32 rounded to a dtype and back, up or down with odds that make the mean right: to the neighbour at
 * distance a of two that lie d apart with probability 1 − a / d. What the dtype holds stays as it is; beyond
 * its largest value, and for infinities and NaN, it rounds as `cast` does. `random` F32 of the shape of `x`
 * holds multiples of 2^−16 (BF16) or 2^−24 (F16) in [0, 1): the odds are exact for BF16 and right to 2^−24
 * for F16.
 *
 * Every step is exact in F32, so that the same input and random numbers give the same bits on every device
 * that computes F32 as such; but for magnitudes below 2^−126, which some devices cast to BF16 as 0.
 */
export function stochasticRound(x: Tensor, random: Tensor, dtype: HalfDtype): Tensor {
  requireDtype('cast', 'x', x, ['F32']);
  requireDtype('cast', 'random', random, ['F32']);
  const fits = random.shape.length === x.shape.length && random.shape.every((n, axis) => n === x.shape[axis]);
  requireShape(fits, 'cast', 'a random number for each element', { x, random });
  const { most, reach, least } = GRIDS[dtype];
  const near = (value: Tensor) => cast(cast(value, dtype), 'F32');
  const nearest = near(x);
  const start = clamp(nearest, -most, most); // what follows needs finite values
  // Differences are taken from `start`, so that −0 stays −0.
  const back = sub(start, clamp(x, -most, most));
  const sign = signOf(back, -1);
  const next = near(sub(start, mul(clamp(magnitude(scale(start, reach)), least), sign)));
  const step = sub(start, next); // to the neighbour beyond x; 0 for what the dtype holds
  const beyond = mul(sub(back, mul(step, random)), sign); // |back| − random · |step|
  const isNext = signOf(beyond, 0);
  // No sum of the two, which would lose the sign of a zero.
  return add(mul(nearest, scale(isNext, -1, 1)), mul(next, isNext));
}

/** 1 for what is above 0, `negative` for what is below, 0 for 0. */
function signOf(x: Tensor, negative: -1 | 0): Tensor {
  return clamp(scale(scale(x, HUGE), HUGE), negative, 1);
}

/** |x|, without an op for it: 2 · max(x, 0) − x. */
function magnitude(x: Tensor): Tensor {
  return sub(scale(clamp(x, 0), 2), x);
}
