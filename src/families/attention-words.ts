/**
 * What the ops that a family shares with others are called in sentences, and what tends to go wrong in each.
 */

export const PROJECTION =
  'a weight row, its transposition, a bias left out or added, the dtype in which the product accumulates';
export const NORM =
  'epsilon, whether the input is rounded before it, a weight of w or 1 + w, mean over which axis';
const CACHE = 'at their own positions, those of the calls before unchanged; dtype of the cache';

/** Of attention with heads, a cache and an output projection. */
export const ATTENTION_WORDS = {
  '.input_layernorm': ['the norm before attention', NORM],
  '.self_attn:k_cache': ['the cache of keys', `rotated keys ${CACHE}`],
  '.self_attn:v_cache': ['the cache of values', `values ${CACHE}`],
  '.self_attn:attn_weights': [
    'attention scores and their soft-max',
    'scale 1/√d, causal mask and window, which KV head a query head reads, dtype of keys and soft-max',
  ],
  '.self_attn:attn_output': [
    'the weighted sum of the values',
    'which KV head a query head reads, dtype of the values',
  ],
  '.self_attn.o_proj': ['the output projection of attention', PROJECTION],
} as const;
