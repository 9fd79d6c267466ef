import { ATTENTION_WORDS, NORM, PROJECTION } from './attention-words.js';

/**
 * What the ops of Qwen3 are called in sentences, and what tends to go wrong in each: by the name of the value
 * that they make, without its block.
 */

const HEAD_NORM =
  'over each head and not over all of them, epsilon, before the rotary embedding, the weight of the right one';
const ROPE = 'base, pairs in split halves and not interleaved, positions';

export const QWEN3_WORDS = {
  ...ATTENTION_WORDS,
  '.self_attn.q_proj': ['the query projection', PROJECTION],
  '.self_attn.q_norm': ['the norm of the queries', HEAD_NORM],
  '.self_attn.k_proj': ['the key projection', PROJECTION],
  '.self_attn.k_norm': ['the norm of the keys', HEAD_NORM],
  '.self_attn.v_proj': ['the value projection', PROJECTION],
  '.self_attn:query_rope': ['the rotary embedding of the queries', ROPE],
  '.self_attn:key_rope': ['the rotary embedding of the keys', ROPE],
  ':residual': ['the residual sum after attention', 'dtype of the residual stream'],
  '.post_attention_layernorm': ['the norm before the MLP', NORM],
  '.mlp.gate_proj': ["the MLP's gate projection", PROJECTION],
  '.mlp.up_proj': ["the MLP's up projection", PROJECTION],
  '.mlp:activated': ["the MLP's gated activation", 'SiLU of the gate times up: gate and up not swapped'],
  '.mlp.down_proj': ["the MLP's down projection", PROJECTION],
  '.mlp.gate': ["the router's projection", PROJECTION],
  '.mlp.gate:router_probs': [
    "the router's soft-max",
    'its dtype, and that it runs over all experts before the choice',
  ],
  '.mlp.gate:expert': [
    'the choice of the experts',
    'the largest probabilities; how many; strides of the sorted indices',
  ],
  '.mlp.gate:expert_weight': [
    "the weighting of a token's experts",
    'divided by their sum where norm_topk_prob says so; in the order of the experts',
  ],
  '.mlp.gate:margin': ['the margin of the choice', 'derived: nothing reads it'],
  '.mlp.experts:gate': [
    "the experts' gate projection",
    'which expert runs; a weight row; gate and up not swapped',
  ],
  '.mlp.experts:up': [
    "the experts' up projection",
    'which expert runs; a weight row; gate and up not swapped',
  ],
  '.mlp.experts:activated': [
    "the experts' gated activation",
    'SiLU of the gate times up: gate and up not swapped',
  ],
  '.mlp.experts:down': ["the experts' down projection", 'which expert runs, a weight row'],
  '.mlp.experts': ["the sum of a token's experts", 'each times its own weight'],
  '': ['the residual sum after the MLP', 'dtype of the residual stream'],
  embed_tokens: ['the embedding', 'which row a token id reads, no factor √H'],
  norm: ['the final norm', NORM],
  lm_head: ['the language-model head', 'tied to the embedding or not, no soft cap, padding rows cut off'],
} as const;
