import { pytorchPresets, storedPresets } from './presets.js';
import { QWEN3_WORDS } from './qwen3-words.js';

/** Presets of a dtype: transformers rounds everything but the router's probabilities. */
function asTransformers(dtype: 'BF16' | 'F16') {
  return [
    { sites: '**#parameters', set: dtype },
    { sites: '**#round', set: dtype },
    { sites: '**:{router_probs,margin}#round', set: 'none' },
  ];
}

const LLAMACPP = [
  { sites: '**:{k,v}_cache#dtype', set: 'F16' },
  { sites: '**.self_attn:rope#angles', set: 'product' },
];

/** Plain data of Qwen3 and Qwen3-MoE, see `family.ts`. */
export const QWEN3 = {
  name: 'qwen3',
  types: ['qwen3', 'qwen3_moe'],
  gguf: ['qwen3', 'qwen3moe'],
  words: QWEN3_WORDS,
  policies: {
    ...pytorchPresets(asTransformers),
    llamacpp: {
      name: 'llamacpp',
      description: 'llama.cpp with an F32 file (products in F32): F16 KV cache, RoPE angles multiplied up',
      rules: LLAMACPP,
    },
    ...storedPresets(
      (type) =>
        `llama.cpp with a ${type} file: as llamacpp, with matrices as such a file stores them and activations rounded as ggml multiplies with them`,
      LLAMACPP,
    ),
  },
  examples: { op: 'layers.3.self_attn.o_proj', breakpoint: 'layers.3.mlp.gate:router_probs' },
  operands: {
    rmsNorm: { x: '' },
    mulMat: { b: '.input_layernorm' },
    add: { a: ':residual', b: '.self_attn.o_proj' },
    softMax: { x: '.mlp.gate' },
    argsort: { x: '.mlp.gate:router_probs' },
    rope: { x: '.self_attn.q_norm' },
  },
  axes: { parts: {}, entries: {}, halves: {} },
  parts: ['mlp.*'],
  hasSkipClass: false,
  states: {},
  roles: {
    residual: 'layers.*',
    logits: 'lm_head',
    'router.expert': 'layers.*.mlp.gate:expert',
    'router.probabilities': 'layers.*.mlp.gate:router_probs',
    'router.margin': 'layers.*.mlp.gate:margin',
    'attention.weights': 'layers.*.self_attn:attn_weights',
    'cache.key': 'layers.*.self_attn:k_cache',
    'cache.value': 'layers.*.self_attn:v_cache',
  },
  order: [
    'embed_tokens',
    'layers.{l}.input_layernorm',
    'layers.{l}.self_attn.q_proj',
    'layers.{l}.self_attn.q_norm',
    'layers.{l}.self_attn.k_proj',
    'layers.{l}.self_attn.k_norm',
    'layers.{l}.self_attn.v_proj',
    'layers.{l}.self_attn:query_rope',
    'layers.{l}.self_attn:key_rope',
    'layers.{l}.self_attn:k_cache',
    'layers.{l}.self_attn:v_cache',
    'layers.{l}.self_attn:attn_weights',
    'layers.{l}.self_attn:attn_output',
    'layers.{l}.self_attn.o_proj',
    'layers.{l}:residual',
    'layers.{l}.post_attention_layernorm',
    'layers.{l}.mlp.gate_proj',
    'layers.{l}.mlp.up_proj',
    'layers.{l}.mlp:activated',
    'layers.{l}.mlp.down_proj',
    'layers.{l}.mlp.gate',
    'layers.{l}.mlp.gate:router_probs',
    'layers.{l}.mlp.gate:expert',
    'layers.{l}.mlp.gate:expert_weight',
    'layers.{l}.mlp.gate:margin',
    'layers.{l}.mlp.experts:gate',
    'layers.{l}.mlp.experts:up',
    'layers.{l}.mlp.experts:activated',
    'layers.{l}.mlp.experts:down',
    'layers.{l}.mlp.experts',
    'layers.{l}',
    'norm',
    'lm_head',
  ],
} as const;
