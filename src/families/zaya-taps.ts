/** The tap names themselves, and PyTorch's with the leading `model.`: for files that hold taps already. */
export const ZAYA_TAPS = {
  name: 'zaya',
  family: 'zaya',
  rules: [
    ...['embed_tokens', 'input_affine', 'norm', 'lm_head'].map((tap) => ({ from: tap, tap })),
    ...['embed_tokens', 'input_affine', 'norm'].map((tap) => ({ from: `model.${tap}`, tap })),
    ...['', 'model.'].flatMap((lead) => [
      // States and lead rows belong to a step, not to its tokens.
      ...[
        '.self_attn.qkv_proj.conv_qk_depthwise:lead',
        '.self_attn.qkv_proj:conv_state',
        '.self_attn.qkv_proj:delayed_state',
        '.self_attn:k_cache',
        '.self_attn:v_cache',
      ].map((suffix) => ({
        from: `${lead}layers.{l}${suffix}`,
        tap: `layers.{l}${suffix}`,
        scope: 'step' as const,
      })),
      { from: `${lead}layers.{l}.{rest}`, tap: 'layers.{l}.{rest}' },
      { from: `${lead}layers.{l}`, tap: 'layers.{l}' },
    ]),
  ],
};
