/**
 * What is known of ZAYA's taps by name alone: plain data, so that dumps, diffs and graphs can use it without the model file.
 * Tap names are those of `src/models/zaya/trace.ts`; patterns are tap patterns (`src/tap-pattern.ts`).
 */
export const ZAYA = {
  /** `model.type` of its dumps. */
  type: 'zaya',
  /** Which taps play which role (`docs/dump-format.md`). */
  roles: {
    residual: 'layers.*',
    logits: 'lm_head',
    'router.expert': 'layers.*.mlp.gate:expert',
    'router.probabilities': 'layers.*.mlp.gate:biased_router_probs',
    'router.margin': 'layers.*.mlp.gate:margin',
    'attention.weights': 'layers.*.self_attn:attn_weights',
    'cache.key': 'layers.*.self_attn:k_cache',
    'cache.value': 'layers.*.self_attn:v_cache',
    state: 'layers.*.self_attn.qkv_proj:{conv_state,delayed_state}',
  },
} as const;
