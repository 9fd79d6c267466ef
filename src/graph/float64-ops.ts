/** Ops on single elements and on rows, in double precision. */

/** By op: one element and the op's scalar arguments to one element. */
export const ELEMENT_OPS: Readonly<Record<string, (x: number, params: readonly number[]) => number>> = {
  scale: (x, [factor, bias = 0]) => x * factor! + bias,
  sqrt: Math.sqrt,
  clamp: (x, [least, most]) => Math.min(Math.max(x, least!), most!),
  silu,
  gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  geluErf: (x) => (x / 2) * erfc(-x / Math.SQRT2),
};

/** By op: a row and the op's scalar arguments to a row. */
export const ROW_OPS: Readonly<
  Record<string, (row: Float64Array, params: readonly number[]) => ArrayLike<number>>
> = {
  mean: (row) => [sum(row) / row.length],
  sumRows: (row) => [sum(row)],
  rmsNorm(row, [eps]) {
    const factor = 1 / Math.sqrt(squares(row) / row.length + eps!);
    return row.map((value) => value * factor);
  },
  l2Norm(row, [eps]) {
    const norm = Math.max(Math.sqrt(squares(row)), eps!);
    return row.map((value) => value / norm);
  },
  swiglu(row) {
    const half = row.length / 2;
    return row.subarray(0, half).map((gate, at) => silu(gate) * row[half + at]!);
  },
  argmax: (row) => [row.reduce((best, value, at) => (value >= row[best]! ? at : best), 0)],
  argsort: (row, [descending]) =>
    Array.from(row.keys()).sort((a, b) => (descending === 1 ? row[b]! - row[a]! : row[a]! - row[b]!)),
};

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

function sum(row: Float64Array): number {
  return row.reduce((total, value) => total + value, 0);
}

function squares(row: Float64Array): number {
  return row.reduce((total, value) => total + value * value, 0);
}

/**
 * `1 − erf(x)`, to about 1e-14: the Taylor series near zero, beyond it the continued fraction of erfc
 * (Abramowitz and Stegun 7.1.5 and 7.1.14).
 */
function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) {
    let term = x;
    let total = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total); n++) {
      term *= (-x * x) / n;
      total += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * total;
  }
  let fraction = x;
  for (let n = 80; n >= 1; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
}
