/**
 * The callback names of the two public llama.cpp ports of ZAYA. Shapes are ggml's with the axes reversed, so
 * `[T, heads, d]` is ggml's `{d, heads, T}`.
 *
 * `llamacpp`: https://github.com/ggml-org/llama.cpp/pull/23112, 2L half-layers, even ones attention and odd
 * ones MoE; time is the fastest axis of both convolutions.
 * `llamacpp-blocks`: its continuation for the transformers layout, L blocks with channels fastest.
 */

const TIME_FASTEST = { op: 'permute', axes: [1, 0] } as const;
const ATTENTION = 'layers.{l}.self_attn';
const CCA = `${ATTENTION}.qkv_proj`;
const GATE = 'layers.{l}.mlp.gate';
const EXPERTS = 'layers.{l}.mlp.experts';

/** What both ports name alike; `a` and `m` are the number behind the names of the attention and MoE parts. */
function shared(a: string, m: string) {
  return [
    { from: 'inp_embd', tap: 'embed_tokens' },
    { from: 'embd', tap: 'embed_tokens' },
    { from: `input_norm-${a}`, tap: 'layers.{l}.input_layernorm' },
    { from: `Qraw-${a}`, tap: `${CCA}.q_proj` },
    { from: `Kraw-${a}`, tap: `${CCA}.k_proj` },
    // What the convolution truly reads: with several sequences in a batch it may differ from the projections.
    { from: `cca_conv_input-${a}`, tap: `${CCA}:conv_input`, layout: [TIME_FASTEST, { op: 'lastTokens' }] },
    { from: `QKraw-${a}`, tap: `${CCA}:conv_input` },
    { from: `QKraw-${a}`, tap: `${CCA}.q_proj`, layout: [{ op: 'firstColumns' }] },
    { from: `QKraw-${a}`, tap: `${CCA}.k_proj`, layout: [{ op: 'lastColumns' }] },
    { from: `cca_last_conv_states-${a}`, tap: `${CCA}:conv_state`, scope: 'step' },
    { from: `qk_mean_q-${a}`, tap: `${CCA}:query_residual` },
    { from: `qk_mean_k-${a}`, tap: `${CCA}:key_residual` },
    { from: `V1-${a}`, tap: `${CCA}.v_proj_current` },
    { from: `V2-${a}`, tap: `${CCA}:value_delayed` },
    { from: `Vcur-${a}`, tap: `${CCA}:value` },
    { from: `Qcur_pre_rope-${a}`, tap: `${ATTENTION}.qk_norm:query` },
    { from: `Kcur_pre_rope-${a}`, tap: `${ATTENTION}.qk_norm:key` },
    { from: `Qcur-${a}`, tap: `${ATTENTION}:query_rope` },
    { from: `Kcur-${a}`, tap: `${ATTENTION}:key_rope` },
    {
      from: `kq_soft_max-${a}`,
      tap: `${ATTENTION}:attn_weights`,
      layout: [{ op: 'permute', axes: [1, 0, 2] }, { op: 'visible' }],
    },
    { from: `kqv_out-${a}`, tap: `${ATTENTION}:attn_output` },
    // Flash attention: one node for scores, soft-max and sum.
    { from: `__fattn__-${a}`, tap: `${ATTENTION}:attn_output` },
    { from: `attn_out-${a}`, tap: `${ATTENTION}.o_proj` },
    { from: `router_down-${m}`, tap: `${GATE}.down_proj` },
    { from: `router_eda-${m}`, tap: `${GATE}:router_hidden_states` },
    { from: `router_norm-${m}`, tap: `${GATE}.router_mlp.norm` },
    { from: `router_mlp0-${m}`, tap: `${GATE}.router_mlp:act1` },
    { from: `router_mlp2-${m}`, tap: `${GATE}.router_mlp:act2` },
    { from: `router_logits-${m}`, tap: `${GATE}.router_mlp.out_proj` },
    { from: `router_probs-${m}`, tap: `${GATE}:router_probs` },
    // The skip class is cut off before the choice.
    { from: `gate_probs-${m}`, tap: `${GATE}:router_probs`, prefix: true },
    { from: `ffn_moe_probs_biased-${m}`, tap: `${GATE}:biased_router_probs`, prefix: true },
    { from: `ffn_moe_topk-${m}`, tap: `${GATE}:expert` },
    { from: `ffn_moe_weights-${m}`, tap: `${GATE}:expert_weight` },
    { from: `ffn_moe_gate_up-${m}`, tap: `${EXPERTS}:gate_up` },
    { from: `ffn_moe_swiglu-${m}`, tap: `${EXPERTS}:activated` },
    { from: `ffn_moe_silu-${m}`, tap: `${EXPERTS}:activated` },
    { from: `ffn_moe_down-${m}`, tap: `${EXPERTS}:down` },
    { from: `moe_out-${m}`, tap: EXPERTS },
    { from: `ffn_moe_out-${m}`, tap: EXPERTS },
    { from: 'result_norm', tap: 'norm' },
    { from: 'result_output_fp32', tap: 'lm_head', prefix: true },
    { from: 'result_output', tap: 'lm_head', prefix: true },
  ] as const;
}

/**
 * Values without a tap: states before the step, the delayed input that only these ports form, parts of other
 * values, unnamed nodes and views.
 */
const IGNORED = [
  'inp_{rest}',
  'attn_inp_{rest}',
  'self_kq_mask{rest}',
  'cca_state{rest}',
  'cca_conv_state-{rest}',
  'cca_prev_hs-{rest}',
  'cca_hs_d-{rest}',
  'ffn_moe_{rest}',
  'moe_keep-{rest}',
  'kq-{rest}',
  'kqv-{rest}',
  'norm-{rest}',
  'norm',
  'cache_{rest}',
  'node_{rest}',
  'leaf_{rest}',
  '{rest} (view)',
  '{rest} (reshaped)',
  '{rest} (permuted)',
  '{rest} (transposed)',
  '{rest} (cont)',
  '{rest} (copy)',
];

/** Names of pull request 23112. */
export const ZAYA_LLAMACPP = {
  name: 'llamacpp',
  family: 'zaya',
  rules: [
    ...shared('{2l}', '{2l+1}'),
    { from: 'QK_dw-{2l}', tap: `${CCA}.conv_qk_depthwise`, layout: [TIME_FASTEST, { op: 'lastTokens' }] },
    {
      from: 'QK_dw-{2l}',
      tap: `${CCA}.conv_qk_depthwise:lead`,
      layout: [TIME_FASTEST, { op: 'beforeTokens' }],
      scope: 'step',
    },
    { from: 'QK_grp-{2l}', tap: `${CCA}.conv_qk_grouped`, layout: [TIME_FASTEST] },
    // Block 0 adds no earlier router state; the port then has no router_eda.
    { from: 'router_down-1', tap: 'layers.0.mlp.gate:router_hidden_states' },
    { from: 'residual-0', tap: 'input_affine' },
    { from: 'res_scale_hs-0', tap: 'input_affine' },
    // The scaling at the entry of a half-layer is that at the end of the one before.
    { from: 'res_scale_hs-{2l+1}', tap: 'layers.{l}.post_attention_residual_scale:hidden_states' },
    { from: 'res_scale_res-{2l+1}', tap: 'layers.{l}.post_attention_residual_scale:residual' },
    { from: 'residual-{2l+1}', tap: 'layers.{l}.post_attention_residual_scale' },
    { from: 'input_norm-{2l+1}', tap: 'layers.{l}.post_attention_layernorm' },
    { from: 'res_scale_hs-{2l+2}', tap: 'layers.{l}.post_mlp_residual_scale:hidden_states' },
    { from: 'res_scale_res-{2l+2}', tap: 'layers.{l}.post_mlp_residual_scale:residual' },
    { from: 'residual-{2l+2}', tap: 'layers.{l}' },
    { from: 'final_res_scale_hs', tap: 'layers.{last}.post_mlp_residual_scale:hidden_states' },
    { from: 'final_res_scale_res', tap: 'layers.{last}.post_mlp_residual_scale:residual' },
    { from: 'final_residual', tap: 'layers.{last}' },
  ],
  ignore: IGNORED,
} as const;

/** Names of the port of the transformers layout. */
export const ZAYA_LLAMACPP_BLOCKS = {
  name: 'llamacpp-blocks',
  family: 'zaya',
  rules: [
    ...shared('{l}', '{l}'),
    { from: 'QK_dw-{l}', tap: `${CCA}.conv_qk_depthwise`, layout: [{ op: 'lastTokens' }] },
    {
      from: 'QK_dw-{l}',
      tap: `${CCA}.conv_qk_depthwise:lead`,
      layout: [{ op: 'beforeTokens' }],
      scope: 'step',
    },
    { from: 'QK_grp-{l}', tap: `${CCA}.conv_qk_grouped` },
    { from: 'router_down-0', tap: 'layers.0.mlp.gate:router_hidden_states' },
    { from: 'input_hs_scaled', tap: 'input_affine' },
    { from: 'res_scale_hs-{l}', tap: 'layers.{l}.post_attention_residual_scale:hidden_states' },
    { from: 'res_scale_res-{l}', tap: 'layers.{l}.post_attention_residual_scale:residual' },
    { from: 'residual_post_attn-{l}', tap: 'layers.{l}.post_attention_residual_scale' },
    { from: 'post_attn_norm-{l}', tap: 'layers.{l}.post_attention_layernorm' },
    { from: 'res_scale_hs_mlp-{l}', tap: 'layers.{l}.post_mlp_residual_scale:hidden_states' },
    { from: 'res_scale_res_mlp-{l}', tap: 'layers.{l}.post_mlp_residual_scale:residual' },
    { from: 'layer_out-{l}', tap: 'layers.{l}' },
  ],
  ignore: IGNORED,
} as const;
