/** How improbable an error is under draws of the noise. */

/**
 * Energy NMSE that F32 arithmetic in another order leaves, added to every error before its logarithm: draws
 * of exactly 0 say nothing about a program that sums in another order.
 */
const F32_NMSE = 1e-12;
/** Draws that happen to be alike are no reason to accuse: the least spread of a logarithm. */
export const LEAST_SPREAD = 0.05;

/**
 * The least spread of the logarithm of a quartile over tokens of errors of `width` elements each: the squares
 * of a few elements vary by themselves (the logarithm of one normal number's square by 2.2).
 */
export function quartileSpread(tokens: number, width: number): number {
  return Math.max(LEAST_SPREAD, (1.36 * 2.22) / Math.sqrt(Math.max(1, tokens) * width));
}

/**
 * The probability of an error of that size or larger, if it is one more draw of what `draws` are draws of:
 * their logarithms are taken for normal, with unknown mean and spread (Student's t for one further draw).
 */
export function probabilityOfError(
  draws: readonly number[],
  nmse: number,
  leastSpread: number = LEAST_SPREAD,
): number {
  if (Number.isNaN(nmse)) return 0;
  if (nmse === 0) return 1;
  const n = draws.length;
  const mean = draws.reduce((sum, draw) => sum + Math.log(draw + F32_NMSE), 0) / n;
  const spread = Math.max(leastSpread, logSpread(draws)) * Math.sqrt(1 + 1 / n);
  return studentTail((Math.log(nmse + F32_NMSE) - mean) / spread, n - 1);
}

/** Standard deviation of the logarithms. */
export function logSpread(draws: readonly number[]): number {
  const logs = draws.map((draw) => Math.log(draw + F32_NMSE));
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Math.sqrt(logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1));
}

/** The error that {@link probabilityOfError} gives a probability. */
export function errorOfProbability(
  draws: readonly number[],
  probability: number,
  leastSpread?: number,
): number {
  let [low, high] = [-80, 80]; // logarithms
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (probabilityOfError(draws, Math.exp(middle), leastSpread) > probability) low = middle;
    else high = middle;
  }
  return Math.exp(high);
}

/**
 * The probability of so many flips or more, if they are one more draw of what `draws` are draws of: square
 * roots are taken for normal, with a spread of at least that of a Poisson variable.
 */
export function probabilityOfCount(draws: readonly number[], count: number): number {
  const roots = draws.map((draw) => Math.sqrt(draw + 3 / 8));
  const mean = roots.reduce((sum, root) => sum + root, 0) / roots.length;
  const variance = roots.reduce((sum, root) => sum + (root - mean) ** 2, 0) / (roots.length - 1);
  const spread = Math.sqrt(Math.max(variance, 1 / 4) * (1 + 1 / roots.length));
  return studentTail((Math.sqrt(count + 3 / 8) - mean) / spread, roots.length - 1);
}

/** P(T > t) of Student's t with `freedom` degrees of freedom. */
export function studentTail(t: number, freedom: number): number {
  if (t === Number.POSITIVE_INFINITY) return 0;
  const half = betaFraction(freedom / (freedom + t * t), freedom / 2, 0.5) / 2;
  return t >= 0 ? half : 1 - half;
}

/** The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method). */
function betaFraction(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaFraction(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  const TINY = 1e-300;
  let [c, d] = [1, 1 - ((a + b) * x) / (a + 1)];
  d = 1 / (Math.abs(d) < TINY ? TINY : d);
  let fraction = d;
  for (let m = 1; m < 300; m++) {
    const terms = [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ];
    let change = 1;
    for (const term of terms) {
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (Math.abs(d) < TINY ? TINY : d);
      if (Math.abs(c) < TINY) c = TINY;
      change = c * d;
      fraction *= change;
    }
    if (Math.abs(change - 1) < 1e-14) break;
  }
  return (front * fraction) / a;
}

/** ln Γ(x) of x > 0, by Stirling's series above 10. */
function logGamma(x: number): number {
  if (x < 10) return logGamma(x + 1) - Math.log(x);
  const inverse = 1 / (x * x);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / x;
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
}
