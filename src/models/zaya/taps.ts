import { convChannels, convStateLength, type ZayaConfig } from './config.js';

/** Where a value belongs: one per token, or one per forward step. */
export type TapScope = 'token' | 'step';

/** A named value of the model, as `zaya-architecture.md` E.2 lists them. */
export interface ZayaTap {
  name: string;
  /** Decoder block, or null for embedding and head. */
  block: number | null;
  scope: TapScope;
  /** Axes of the whole value, e.g. `['T', 'nq', 'd']`; see {@link axisSize}. */
  axes: readonly string[];
  dtype: 'F32' | 'I32';
}

type Row = readonly [suffix: string, axes: string, dtype?: 'I32'];

/** In the order in which the model file makes them. */
const BLOCK_TAPS: readonly Row[] = [
  ['.input_layernorm', 'T,H'],
  ['.self_attn.qkv_proj.q_proj', 'T,nq*d'],
  ['.self_attn.qkv_proj.k_proj', 'T,nk*d'],
  ['.self_attn.qkv_proj:conv_input', 'T,C'],
  ['.self_attn.qkv_proj:query_residual', 'T,nq,d'],
  ['.self_attn.qkv_proj:key_residual', 'T,nk,d'],
  ['.self_attn.qkv_proj.conv_qk_depthwise:lead', 'leads,C'],
  ['.self_attn.qkv_proj.conv_qk_depthwise', 'T,C'],
  ['.self_attn.qkv_proj.conv_qk_grouped', 'T,C'],
  ['.self_attn.qkv_proj:query', 'T,nq,d'],
  ['.self_attn.qkv_proj:key', 'T,nk,d'],
  ['.self_attn.qkv_proj.v_proj_current', 'T,nk*d/2'],
  ['.self_attn.qkv_proj.v_proj_delayed', 'T,nk*d/2'],
  ['.self_attn.qkv_proj:value_delayed', 'T,nk*d/2'],
  ['.self_attn.qkv_proj:value', 'T,nk,d'],
  ['.self_attn.qk_norm:query', 'T,nq,d'],
  ['.self_attn.qk_norm:key', 'T,nk,d'],
  ['.self_attn:query_rope', 'T,nq,d'],
  ['.self_attn:key_rope', 'T,nk,d'],
  ['.self_attn:attn_weights', 'T,nq,S'],
  ['.self_attn:attn_output', 'T,nq*d'],
  ['.self_attn.o_proj', 'T,H'],
  ['.post_attention_residual_scale:hidden_states', 'T,H'],
  ['.post_attention_residual_scale:residual', 'T,H'],
  ['.post_attention_residual_scale', 'T,H'],
  ['.post_attention_layernorm', 'T,H'],
  ['.mlp.gate.down_proj', 'T,R'],
  ['.mlp.gate:router_hidden_states', 'T,R'],
  ['.mlp.gate.router_mlp.norm', 'T,R'],
  ['.mlp.gate.router_mlp.fc1', 'T,R'],
  ['.mlp.gate.router_mlp:act1', 'T,R'],
  ['.mlp.gate.router_mlp.fc2', 'T,R'],
  ['.mlp.gate.router_mlp:act2', 'T,R'],
  ['.mlp.gate.router_mlp.out_proj', 'T,E+1'],
  ['.mlp.gate:router_probs', 'T,E+1'],
  ['.mlp.gate:biased_router_probs', 'T,E+1'],
  ['.mlp.gate:expert', 'T', 'I32'],
  ['.mlp.gate:expert_weight', 'T'],
  ['.mlp.gate:margin', 'T'],
  ['.mlp.experts:gate_up', 'T,2F'],
  ['.mlp.experts:activated', 'T,F'],
  ['.mlp.experts:down', 'T,H'],
  ['.mlp.experts', 'T,H'],
  ['.post_mlp_residual_scale:hidden_states', 'T,H'],
  ['.post_mlp_residual_scale:residual', 'T,H'],
  ['', 'T,H'],
];

/** What a run with a cache shows besides: states after the step. */
const CACHE_TAPS: readonly Row[] = [
  ['.self_attn.qkv_proj:conv_state', 'C,L'],
  ['.self_attn.qkv_proj:delayed_state', 'nk*d/2'],
  ['.self_attn:k_cache', 'S,nk,d'],
  ['.self_attn:v_cache', 'S,nk,d'],
];

/** All taps of a model in execution order: embedding, blocks, head. With `cached`, each block's states after the step come after its other values. */
export function zayaTaps(config: ZayaConfig, cached = false): ZayaTap[] {
  const make = (name: string, block: number | null, axes: string, dtype: 'F32' | 'I32' = 'F32'): ZayaTap => ({
    name,
    block,
    scope: axes.startsWith('T') ? 'token' : 'step',
    axes: axes.split(','),
    dtype,
  });
  const exists = ([, axes]: Row) =>
    !(axes.startsWith('leads') && config.cca_time1 === 1) &&
    !(axes === 'C,L' && convStateLength(config) === 0);
  const rows = [...BLOCK_TAPS, ...(cached ? CACHE_TAPS : [])].filter(exists);
  const blocks = Array.from({ length: config.num_hidden_layers }, (_, block) =>
    rows.map(([suffix, axes, dtype]) => make(`layers.${block}${suffix}`, block, axes, dtype)),
  );
  return [
    make('embed_tokens', null, 'T,H'),
    make('input_affine', null, 'T,H'),
    ...blocks.flat(),
    make('norm', null, 'T,H'),
    make('lm_head', null, 'T,V'),
  ];
}

/** Size of an axis of {@link ZayaTap.axes} in a call of `tokens` tokens that sees `visible` positions. */
export function axisSize(config: ZayaConfig, axis: string, tokens: number, visible = tokens): number {
  const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d } = config;
  const sizes: Record<string, number> = {
    T: tokens,
    S: visible,
    L: convStateLength(config),
    H: config.hidden_size,
    nq,
    nk,
    d,
    'nq*d': nq * d,
    'nk*d': nk * d,
    'nk*d/2': (nk * d) / 2,
    C: convChannels(config),
    leads: config.cca_time1 - 1,
    R: config.router_hidden_size,
    'E+1': config.num_experts + 1,
    F: config.moe_intermediate_size,
    '2F': 2 * config.moe_intermediate_size,
    V: config.vocab_size,
  };
  return sizes[axis]!;
}
