/**
 * The tap names of the architecture notes, section E.2, written out by hand: the test's own copy, from
 * neither producer's code.
 * `S` is the number of tokens that attention sees, `leads` the depthwise rows before the first token (one for
 * ZAYA's kernels).
 */

/** Taps of no block, with the axes of a row (the token axis is left out). */
export const MODEL_TAPS: Readonly<Record<string, string>> = {
  embed_tokens: 'H',
  input_affine: 'H',
  norm: 'H',
  lm_head: 'V',
};

/** Taps of a block, after `layers.N`. */
export const BLOCK_TAPS: Readonly<Record<string, string>> = {
  '.input_layernorm': 'H',
  '.self_attn.qkv_proj.q_proj': 'nq*d',
  '.self_attn.qkv_proj.k_proj': 'nk*d',
  '.self_attn.qkv_proj.v_proj_current': 'nk*d/2',
  '.self_attn.qkv_proj.v_proj_delayed': 'nk*d/2',
  '.self_attn.qkv_proj:query_residual': 'nq,d',
  '.self_attn.qkv_proj:key_residual': 'nk,d',
  '.self_attn.qkv_proj:conv_input': 'C',
  '.self_attn.qkv_proj.conv_qk_depthwise:lead': 'leads,C',
  '.self_attn.qkv_proj.conv_qk_depthwise': 'C',
  '.self_attn.qkv_proj.conv_qk_grouped': 'C',
  '.self_attn.qkv_proj:query': 'nq,d',
  '.self_attn.qkv_proj:key': 'nk,d',
  '.self_attn.qkv_proj:value_delayed': 'nk*d/2',
  '.self_attn.qkv_proj:value': 'nk,d',
  '.self_attn.qk_norm:query': 'nq,d',
  '.self_attn.qk_norm:key': 'nk,d',
  '.self_attn:query_rope': 'nq,d',
  '.self_attn:key_rope': 'nk,d',
  '.self_attn:attn_weights': 'nq,S',
  '.self_attn:attn_output': 'nq*d',
  '.self_attn.o_proj': 'H',
  '.post_attention_residual_scale:hidden_states': 'H',
  '.post_attention_residual_scale:residual': 'H',
  '.post_attention_residual_scale': 'H',
  '.post_attention_layernorm': 'H',
  '.mlp.gate.down_proj': 'R',
  '.mlp.gate:router_hidden_states': 'R',
  '.mlp.gate.router_mlp.norm': 'R',
  '.mlp.gate.router_mlp.fc1': 'R',
  '.mlp.gate.router_mlp.fc2': 'R',
  '.mlp.gate.router_mlp:act1': 'R',
  '.mlp.gate.router_mlp:act2': 'R',
  '.mlp.gate.router_mlp.out_proj': 'E+1',
  '.mlp.gate:router_probs': 'E+1',
  '.mlp.gate:biased_router_probs': 'E+1',
  '.mlp.gate:expert': '',
  '.mlp.gate:expert_weight': '',
  '.mlp.gate:margin': '',
  '.mlp.experts:gate_up': '2F',
  '.mlp.experts:activated': 'F',
  '.mlp.experts:down': 'H',
  '.mlp.experts': 'H',
  '.post_mlp_residual_scale:hidden_states': 'H',
  '.post_mlp_residual_scale:residual': 'H',
  '': 'H',
};

/** Taps that stay F32 in a BF16 or F16 run: the residual stream, and what the router compares. */
export const F32_TAPS = [
  '.post_attention_residual_scale:residual',
  '.post_attention_residual_scale',
  '.post_mlp_residual_scale:residual',
  '',
  '.mlp.gate:biased_router_probs',
  '.mlp.gate:margin',
] as const;

/** Every tap name of a model with `blocks` blocks. */
export function allTapNames(blocks: number): string[] {
  const inBlocks = Array.from({ length: blocks }, (_, n) =>
    Object.keys(BLOCK_TAPS).map((suffix) => `layers.${n}${suffix}`),
  );
  return [...Object.keys(MODEL_TAPS), ...inBlocks.flat()];
}
