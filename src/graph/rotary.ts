import { add, mul } from './ops-arithmetic.js';
import { concat, slice } from './ops-layout.js';
import { requireArgument, requireShape } from './rules.js';
import type { Tensor } from './tensor.js';

/** Cosine and sine tables [tokens, head_dim] for {@link ropeFromTables}. */
export interface RotaryTables {
  cos: Float32Array;
  sin: Float32Array;
}

/** How angles are computed: see {@link rotaryTables}. */
export type RotaryAngles = 'power' | 'product';

/**
 * Tables for the neox form on the first `dims` of `headDim` dimensions. Dimensions beyond `dims` get cos 1
 * and sin 0, and the minus sign of `rotate_half` is folded into `sin`.
 *
 * @param angles `power` (default), as the reference: inverse frequencies `1 / base^(2i/dims)` in F32, angles
 * `position · frequency` rounded to F32, then cosine and sine. `product`, as ggml's `rope`: the angle of a
 * pair is that of the pair before times `base^(-2/dims)`, each rounded to F32, so that it is off by up to
 * about i·6e-8 of itself in pair i.
 */
export function rotaryTables(
  positions: readonly number[],
  headDim: number,
  dims: number,
  base: number,
  angles: RotaryAngles = 'power',
): RotaryTables {
  requireArgument(
    Number.isInteger(dims) && dims > 0 && dims % 2 === 0 && dims <= headDim,
    'rotaryTables',
    `an even number of dims up to ${headDim}`,
    dims,
  );
  const half = dims / 2;
  const frequencies = Float32Array.from(
    { length: half },
    (_, i) => 1 / Math.fround(base ** Math.fround((2 * i) / dims)),
  );
  const factor = Math.fround(base ** Math.fround(-2 / dims));
  const cos = new Float32Array(positions.length * headDim).fill(1);
  const sin = new Float32Array(positions.length * headDim);
  positions.forEach((position, row) => {
    let product = Math.fround(position);
    for (let i = 0; i < half; i++) {
      const angle = angles === 'product' ? product : Math.fround(position * frequencies[i]!);
      product = Math.fround(product * factor);
      const at = row * headDim + i;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at + half] = Math.sin(angle);
      sin[at] = -sin[at + half]!;
    }
  });
  return { cos, sin };
}

/**
 * Rotary embedding, neox form, on the first `dims` of each head: `x` F32 [tokens, heads, head_dim], `cos` and
 * `sin` F32 [tokens, 1, head_dim] from {@link rotaryTables}.
 * `x · cos + rotate_half(x) · sin`, exact in the angles where ggml's own `rope` drifts with the position.
 * `round` may change the two products before they are added.
 */
export function ropeFromTables(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  dims: number,
  round: (part: 'cos' | 'sin', product: Tensor) => Tensor = (_, product) => product,
): Tensor {
  const [tokens, , headDim] = x.shape as [number, number, number];
  const fits =
    x.shape.length === 3 &&
    [cos, sin].every(
      ({ shape }) => shape.length === 3 && shape[0] === tokens && shape[1] === 1 && shape[2] === headDim,
    );
  requireShape(fits, 'rope', 'x [tokens, heads, head_dim], cos and sin [tokens, 1, head_dim]', {
    x,
    cos,
    sin,
  });
  const half = dims / 2;
  let swapped = concat(slice(x, 2, half, dims), slice(x, 2, 0, half), 2); //           tokens, heads, dims
  if (dims < headDim) swapped = concat(swapped, slice(x, 2, dims, headDim), 2); //     tokens, heads, head_dim
  return add(round('cos', mul(x, cos)), round('sin', mul(swapped, sin))); //           tokens, heads, head_dim
}
