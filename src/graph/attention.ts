import { cont, permute, reshape } from './ops-layout.js';
import { mulMat } from './ops-products.js';
import { softMax } from './ops-rows.js';
import type { Tensor } from './tensor.js';

/**
 * Probabilities of soft-max attention with grouped queries, spelled out (no fused kernel): `query` F32 [T, nq, d], `key` F32 [S, nk, d], `mask` F32 [T, S] added to the
 * scaled scores, gives F32 [nq, T, S]. Query head h reads KV head ⌊h · nk / nq⌋.
 */
export function attentionWeights(query: Tensor, key: Tensor, mask: Tensor, factor: number): Tensor {
  const scores = mulMat(permute(key, [1, 0, 2]), cont(permute(query, [1, 0, 2]))); // nq, T, S
  return softMax(scores, factor, mask);
}

/** Values mixed by probabilities: `weights` F32 [nq, T, S], `value` F32 [S, nk, d], gives F32 [T, nq · d]. */
export function attentionOutput(weights: Tensor, value: Tensor): Tensor {
  const [heads, tokens] = weights.shape as [number, number, number];
  const context = mulMat(cont(permute(value, [1, 2, 0])), weights); // nq, T, d
  return reshape(cont(permute(context, [1, 0, 2])), [tokens, heads * value.shape[2]!]); // T, nq·d
}

/**
 * Additive mask F32 [tokens, cached + tokens] for tokens at positions `cached ..`: 0 where a token may look, −∞ elsewhere. With `window`, a token sees itself and the
 * `window − 1` tokens before it, as `sliding_window` does in the reference.
 */
export function causalMask(tokens: number, cached: number, window?: number): Float32Array {
  const span = cached + tokens;
  const mask = new Float32Array(tokens * span).fill(-Infinity);
  for (let row = 0; row < tokens; row++) {
    const own = cached + row;
    const first = window === undefined ? 0 : Math.max(0, own - window + 1);
    mask.fill(0, row * span + first, row * span + own + 1);
  }
  return mask;
}
