const ATTENTION = 'layers.{l}.self_attn';
const CCA = `${ATTENTION}.qkv_proj`;

/** [1, C, T] as a convolution of PyTorch takes it. */
const TIME_FASTEST = { op: 'permute', axes: [1, 0] } as const;

/**
 * vLLM's ZAYA (https://github.com/vllm-project/vllm/pull/41999). It has no callbacks: names are those a hook
 * gives, a module's path or `<module>:<variable>` of its forward, with or without the leading `model.`. Where
 * its modules carry the reference's names, so do the values; the rest are variables of its convolutional
 * attention, whose module path is left open (`*`).
 */
export const ZAYA_VLLM = {
  name: 'vllm',
  family: 'zaya',
  rules: ['model.', ''].flatMap((lead) => {
    const at = (rest: string): string => `${lead}layers.{l}.${rest}`;
    return [
      { from: `${lead}embed_tokens`, tap: 'embed_tokens' },
      { from: at('self_attn.*:q'), tap: `${CCA}.q_proj` },
      { from: at('self_attn.*:k'), tap: `${CCA}.k_proj` },
      { from: at('self_attn.*:qk_packed0'), tap: `${CCA}:conv_input` },
      {
        from: at('self_attn.*:qk_packed2_cur'),
        tap: `${CCA}:conv_input`,
        layout: [TIME_FASTEST, { op: 'lastTokens' as const }],
      },
      {
        from: at('self_attn.*:qk_packed0_cat'),
        tap: `${CCA}:conv_input`,
        layout: [TIME_FASTEST, { op: 'lastTokens' as const }],
      },
      {
        from: at('self_attn.*.conv_qk_depthwise'),
        tap: `${CCA}.conv_qk_depthwise`,
        layout: [TIME_FASTEST, { op: 'lastTokens' as const }],
      },
      {
        from: at('self_attn.*.conv_qk_depthwise'),
        tap: `${CCA}.conv_qk_depthwise:lead`,
        layout: [TIME_FASTEST, { op: 'beforeTokens' as const }],
        scope: 'step' as const,
      },
      { from: at('self_attn.*:qk_packed3'), tap: `${CCA}.conv_qk_grouped` },
      { from: at('self_attn.*.conv_qk_grouped'), tap: `${CCA}.conv_qk_grouped`, layout: [TIME_FASTEST] },
      { from: at('self_attn.*.v_proj_current'), tap: `${CCA}.v_proj_current` },
      { from: at('self_attn.*:v1'), tap: `${CCA}.v_proj_current` },
      { from: at('self_attn.*.v_proj_delayed'), tap: `${CCA}.v_proj_delayed` },
      { from: at('self_attn.*:delayed_v_state'), tap: `${CCA}.v_proj_delayed` },
      { from: at('self_attn.*:value_delayed'), tap: `${CCA}:value_delayed` },
      { from: at('self_attn.*:value'), tap: `${CCA}:value` },
      { from: at('self_attn:attn_output'), tap: `${ATTENTION}:attn_output` },
      { from: at('mlp.gate:router_hidden_states_next'), tap: 'layers.{l}.mlp.gate:router_hidden_states' },
      { from: at('mlp.gate:router_logits'), tap: 'layers.{l}.mlp.gate.router_mlp.out_proj' },
      { from: at('mlp.gate:router_indices'), tap: 'layers.{l}.mlp.gate:expert' },
      { from: at('mlp'), tap: 'layers.{l}.mlp.experts' },
      { from: at('{rest}'), tap: 'layers.{l}.{rest}' },
      { from: `${lead}layers.{l}`, tap: 'layers.{l}' },
      { from: `${lead}norm`, tap: 'norm' },
      { from: `${lead}logits_processor`, tap: 'lm_head', prefix: true as const },
      { from: `${lead}lm_head`, tap: 'lm_head', prefix: true as const },
    ];
  }),
};
