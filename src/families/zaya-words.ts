import { ATTENTION_WORDS, NORM, PROJECTION } from './attention-words.js';

/**
 * What ZAYA's ops are called in sentences, and what tends to go wrong in each: by the name of the value that
 * they make, without its block.
 */

export const ZAYA_WORDS = {
  ...ATTENTION_WORDS,
  '.self_attn.qkv_proj.q_proj': ['the query projection', PROJECTION],
  '.self_attn.qkv_proj.k_proj': ['the key projection', PROJECTION],
  '.self_attn.qkv_proj:conv_input': ['the joining of queries and keys', 'queries come first, then keys'],
  '.self_attn.qkv_proj:query_residual': [
    'the mean of each query head and its key head',
    'which key head a query head shares (h div group), the factor 0.5',
  ],
  '.self_attn.qkv_proj:key_residual': [
    "the mean of a group's query means",
    'mean over the heads of a group, of the means and not of the raw queries',
  ],
  '.self_attn.qkv_proj:conv_state': [
    'the convolution state that a call leaves',
    'the last rows of queries and keys before the convolutions, oldest first, the incoming state among them where a call is shorter',
  ],
  '.self_attn.qkv_proj.conv_qk_depthwise:lead': [
    'the depthwise convolution before the first token',
    'at a start zeros are padded once, before both convolutions: this row is the bias and not zero; in a continued call it reads the state that the call before has left',
  ],
  '.self_attn.qkv_proj.conv_qk_depthwise': [
    'the depthwise convolution',
    'order of the taps (the older sample first), bias, padding with the state and not with zeros',
  ],
  '.self_attn.qkv_proj.conv_qk_grouped': [
    'the grouped convolution',
    'dtype of im2col and weight, order of the taps, groups (one a head, queries first), padding: its first row reads the depthwise bias and not zero',
  ],
  '.self_attn.qkv_proj:query': ['the sum of convolved and mean queries', 'which heads are queries'],
  '.self_attn.qkv_proj:key': ['the sum of convolved and mean keys', 'which heads are keys'],
  '.self_attn.qkv_proj.v_proj_current': ["the value projection of the current token's half", PROJECTION],
  '.self_attn.qkv_proj.v_proj_delayed': ["the value projection of the delayed token's half", PROJECTION],
  '.self_attn.qkv_proj:value_delayed': [
    'the delay of values by one token',
    'the first token reads the state (zero at the start), others the token before',
  ],
  '.self_attn.qkv_proj:delayed_state': [
    'the delayed value that a call leaves',
    'the delayed projection of the last token of the call',
  ],
  '.self_attn.qkv_proj:value': [
    'the joining of the two halves of the values',
    'the current half comes first: with two KV heads, head 0 is the current and head 1 the delayed token',
  ],
  '.self_attn.qk_norm:query': [
    'the L2 norm of the queries',
    'factor √d, epsilon as a clamp of the norm; queries have no temperature',
  ],
  '.self_attn.qk_norm:key': [
    'the L2 norm and temperature of the keys',
    'temperature used as it is (neither exponentiated nor clamped), one per KV head; factor √d, epsilon as a clamp of the norm',
  ],
  '.self_attn:query_rope': [
    'the rotary embedding of the queries',
    'base, share of the head that is rotated, pairs in split halves and not interleaved, positions',
  ],
  '.self_attn:key_rope': [
    'the rotary embedding of the keys',
    'base, share of the head that is rotated, pairs in split halves and not interleaved, positions',
  ],
  '.post_attention_residual_scale:hidden_states': [
    'the scaling of the attention output',
    'bias first, then scale; which of the four vectors',
  ],
  '.post_attention_residual_scale:residual': [
    'the scaling of the residual after attention',
    'bias first, then scale; which of the four vectors',
  ],
  '.post_attention_residual_scale': ['the residual sum after attention', 'dtype of the residual stream'],
  '.post_attention_layernorm': ['the norm before the experts', NORM],
  '.mlp.gate.down_proj': ["the router's down projection", PROJECTION],
  '.mlp.gate:router_hidden_states': [
    "the router's state carried from block to block (EDA)",
    "the previous block's sum, before its norm, times this block's scale is added; block 0 has none",
  ],
  '.mlp.gate.router_mlp.norm': ["the router's norm", NORM],
  '.mlp.gate.router_mlp.fc1': ["the router's first layer", PROJECTION],
  '.mlp.gate.router_mlp:act1': ["the router's first GELU", 'the exact (erf) form and not the tanh one'],
  '.mlp.gate.router_mlp.fc2': ["the router's second layer", PROJECTION],
  '.mlp.gate.router_mlp:act2': ["the router's second GELU", 'the exact (erf) form and not the tanh one'],
  '.mlp.gate.router_mlp.out_proj': ["the router's last layer", PROJECTION],
  '.mlp.gate:router_probs': ["the router's soft-max", 'its dtype, and that the skip class takes part'],
  '.mlp.gate:biased_router_probs': [
    'the balancing biases',
    'the last class has its own bias; the biases stay F32',
  ],
  '.mlp.gate:expert': [
    'the choice of the expert',
    'the largest biased probability, the skip class included; strides of the sorted indices',
  ],
  '.mlp.gate:expert_weight': [
    "the chosen expert's weight",
    'the probability without bias, of the soft-max over all classes, not renormalised',
  ],
  '.mlp.gate:margin': ['the margin of the choice', 'derived: nothing reads it'],
  '.mlp.experts:gate_up': [
    "the experts' gate and up projections",
    'gate rows first, then up rows; which expert runs; a weight row',
  ],
  '.mlp.experts:activated': [
    "the experts' gated activation",
    'SiLU of the first half times the second: gate and up not swapped',
  ],
  '.mlp.experts:down': ["the experts' down projection", 'which expert runs, a weight row'],
  '.mlp.experts': [
    "the experts' output",
    "times the expert's weight; zero for tokens of the skip class (not the token's own value)",
  ],
  '.post_mlp_residual_scale:hidden_states': [
    "the scaling of the experts' output",
    'bias first, then scale; which of the four vectors',
  ],
  '.post_mlp_residual_scale:residual': [
    'the scaling of the residual after the experts',
    'bias first, then scale; which of the four vectors',
  ],
  '': ['the residual sum after the experts', 'dtype of the residual stream'],
  embed_tokens: ['the embedding', 'which row a token id reads, no factor √H'],
  input_affine: ['the input affine', 'bias first, then scale; applied once, before block 0'],
  norm: ['the final norm', NORM],
  lm_head: ['the language-model head', 'tied to the embedding, no soft cap, padding rows cut off'],
} as const;
