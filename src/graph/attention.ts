import { cont, permute, reshape } from './ops-layout.js';
import { mulMat } from './ops-products.js';
import { softMax } from './ops-rows.js';
import type { Tensor } from './tensor.js';

/**
 * Products of queries and keys with grouped queries: `query` F32 [.., T, nq, d], `key` [.., S, nk, d] (F32,
 * or F16 or BF16 as a KV cache holds it: then ggml rounds the queries to that dtype), gives F32 [.., nq, T,
 * S]. Query head h reads KV head ⌊h · nk / nq⌋. `..` is nothing or a batch axis.
 */
export function attentionScores(query: Tensor, key: Tensor): Tensor {
  return mulMat(swapHeads(key), cont(swapHeads(query)));
}

/**
 * Probabilities of soft-max attention, spelled out (no fused kernel): {@link attentionScores} times `factor`
 * plus `mask` F32 [T, S] or [batch, 1, T, S], through the soft-max.
 */
export function attentionWeights(query: Tensor, key: Tensor, mask: Tensor, factor: number): Tensor {
  return softMax(attentionScores(query, key), factor, mask);
}

/**
 * Values mixed by probabilities: `weights` F32 [.., nq, T, S], `values` [.., nk, d, S] from {@link
 * transposedValues} or a cache, gives F32 [.., T, nq · d].
 */
export function attentionOutput(weights: Tensor, values: Tensor): Tensor {
  const context = swapHeads(mulMat(values, weights)); // .., T, nq, d
  const [heads, headDim] = context.shape.slice(-2) as [number, number];
  return reshape(cont(context), [...context.shape.slice(0, -2), heads * headDim]);
}

/** Values [.., S, nk, d] with the axis that attention sums over last: [.., nk, d, S]. */
export function transposedValues(value: Tensor): Tensor {
  return cont(permute(value, value.shape.length === 3 ? [1, 2, 0] : [0, 2, 3, 1]));
}

/** [.., T, heads, d] to [.., heads, T, d] and back. */
function swapHeads(x: Tensor): Tensor {
  return permute(x, x.shape.length === 3 ? [1, 0, 2] : [0, 2, 1, 3]);
}

/**
 * Additive mask F32 [tokens, span] for tokens at positions `past ..` that look at positions `0 .. span − 1`:
 * 0 where a token may look, −∞ elsewhere. With `window`, a token sees itself and the `window − 1` positions
 * before it, as `sliding_window` does in the reference.
 */
export function causalMask(tokens: number, past: number, span: number, window?: number): Float32Array {
  const mask = new Float32Array(tokens * span).fill(-Infinity);
  for (let row = 0; row < tokens; row++) {
    const own = past + row;
    const first = window === undefined ? 0 : Math.max(0, own - window + 1);
    mask.fill(0, row * span + first, row * span + Math.min(own + 1, span));
  }
  return mask;
}
