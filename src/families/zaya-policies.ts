import { pytorchPresets, storedPresets } from './presets.js';

/** ZAYA's presets of dtype policies (`src/graph/policy.ts`). */

/**
 * What transformers keeps in F32 whatever the model's dtype: the residual stream and the biased router
 * probabilities.
 */
const KEPT_IN_F32 = [
  'layers.*#round',
  'layers.*.post_attention_residual_scale#round',
  'layers.*.post_{attention,mlp}_residual_scale:residual*#round',
  'layers.*.mlp.gate:{biased_router_probs,margin}#round',
].join(',');

function asTransformers(dtype: 'BF16' | 'F16') {
  return [
    { sites: '**#parameters', set: dtype },
    { sites: '**#round', set: dtype },
    { sites: KEPT_IN_F32, set: 'none' },
    { sites: '**.qk_norm#eps', set: dtype },
  ];
}

const LLAMACPP = [
  { sites: '**.conv_qk_grouped#kernel', set: 'F16' },
  { sites: '**.router_mlp:act*#form', set: 'tanh' },
  { sites: '**:{k,v}_cache#dtype', set: 'F16' },
  { sites: '**.self_attn:rope#angles', set: 'product' },
  { sites: '**.gate:expert#skip', set: 'dropped' },
];

const LLAMACPP_BEFORE = [...LLAMACPP, { sites: '**.conv_qk_grouped#patches', set: 'F16' }];

/** By name. */
export const ZAYA_POLICIES = {
  ...pytorchPresets(asTransformers),
  llamacpp: {
    name: 'llamacpp',
    description:
      'the public llama.cpp port with an F32 file (products in F32): F16 im2col and convolution weights, tanh GELU, F16 KV cache, RoPE angles multiplied up, no skip class',
    rules: LLAMACPP_BEFORE,
  },
  'llamacpp-f32-im2col': {
    name: 'llamacpp-f32-im2col',
    description:
      'the public llama.cpp port after its fix, with an F32 file (products in F32): as llamacpp, with an F32 im2col',
    rules: LLAMACPP,
  },
  ...storedPresets(
    (type) =>
      `the public llama.cpp port with a ${type} file: as llamacpp, with matrices as such a file stores them (the router's in F32) and activations rounded as ggml multiplies with them`,
    LLAMACPP_BEFORE,
  ),
};
