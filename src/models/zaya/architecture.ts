import { ZAYA } from '../../families/zaya.js';
import type { Architecture, History, QuantClass, RequiredTensor, Table } from '../runtime/architecture.js';
import {
  convChannels,
  convStateLength,
  kWidth,
  type LayerType,
  parseZayaConfig,
  rotaryDim,
  routerClasses,
  type ZayaConfig,
} from './config.js';
import { zayaDecoderLayer, zayaEmbedding, zayaHead } from './zaya.js';

/** ZAYA: everything that the rest of the program knows of it, with its plain data in `families/zaya.ts`. */
export const ZAYA_ARCHITECTURE: Architecture<ZayaConfig> = {
  family: ZAYA,
  parseConfig: parseZayaConfig,
  example: () =>
    parseZayaConfig({
      model_type: 'zaya',
      vocab_size: 4,
      hidden_size: 4,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      head_dim: 4,
      moe_intermediate_size: 2,
      num_experts: 2,
      router_hidden_size: 2,
    }),
  axes(config) {
    const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d } = config;
    return {
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
      'E+1': routerClasses(config),
      F: config.moe_intermediate_size,
      '2F': 2 * config.moe_intermediate_size,
      V: config.vocab_size,
    };
  },
  states: ({ hidden_size, router_hidden_size }) => ({ hidden: hidden_size, router: router_hidden_size }),
  histories,
  attention(config, layerType) {
    const type = layerType as LayerType;
    return {
      rotary: rotaryDim(config, type),
      theta: config.rope_parameters[type]!.rope_theta,
      window: type === 'hybrid_sliding' ? (config.sliding_window ?? undefined) : undefined,
    };
  },
  withRope(config, layerType, { theta, share }) {
    const type = layerType as LayerType;
    const own = config.rope_parameters[type]!;
    const changed = {
      ...own,
      rope_theta: theta ?? own.rope_theta,
      partial_rotary_factor: share ?? own.partial_rotary_factor,
    };
    return { ...config, rope_parameters: { ...config.rope_parameters, [type]: changed } };
  },
  classes: routerClasses,
  tables: expertTables,
  embedding: zayaEmbedding,
  block: zayaDecoderLayer,
  head: zayaHead,
  // Not the order in which they run.
  declared: [
    'self_attn.o_proj.',
    'self_attn.qkv_proj.q_proj.',
    'self_attn.qkv_proj.k_proj.',
    'self_attn.qkv_proj.v_proj_',
    'self_attn.qkv_proj.conv_qk_',
    'self_attn.qk_norm.',
    'mlp.gate.',
    'mlp.experts.',
    'input_layernorm.',
    'post_attention_layernorm.',
    'post_attention_residual_scale.',
    'post_mlp_residual_scale.',
  ],
  quantClass,
  skipBiases: (block) => `model.layers.${block}.mlp.gate.balancing_biases`,
  describe: (config) => ({
    attention: `, convolutions of ${config.cca_time0} and ${config.cca_time1}`,
    experts: ` and the skip class, router ${config.router_hidden_size}`,
  }),
};

/**
 * Raw q‖k rows, oldest first, [L, C] (none for convolutions of size 1), and the delayed value projection of
 * the last token, [1, nk·d/2].
 */
function histories(config: ZayaConfig): Record<string, History> {
  const rows = convStateLength(config);
  const conv_state: History = {
    tap: '.self_attn.qkv_proj:conv_state',
    isTransposed: true,
    shape: [rows, convChannels(config)],
  };
  return {
    ...(rows > 0 ? { conv_state } : {}),
    delayed_state: {
      tap: '.self_attn.qkv_proj:delayed_state',
      shape: [1, kWidth(config) / 2],
      // The projection of a zero.
      start: (block) => `model.layers.${block}.self_attn.qkv_proj.v_proj_delayed.bias`,
    },
  };
}

/**
 * What follows from a router class: `expert_ids` I32 [E + 1, 1] the expert to run, 0 for the skip class;
 * `expert_keep` F32 [E + 1, 1] 0 for the skip class, 1 for others.
 */
function expertTables(config: ZayaConfig): Record<string, Table> {
  const skip = config.num_experts;
  const classes = Array.from({ length: routerClasses(config) }, (_, index) => index);
  const shape = [classes.length, 1];
  return {
    expert_ids: { shape, values: Int32Array.from(classes, (index) => (index === skip ? 0 : index)) },
    expert_keep: { shape, values: Float32Array.from(classes, (index) => (index === skip ? 0 : 1)) },
  };
}

/**
 * - the router's matrices: exact; the grouped convolution: half;
 * - experts' down projections and the value projections get more bits in some layers, which count as
 *   half-layers for experts, so that half of the 8B's 40 get them; as blocks for values.
 */
function quantClass({ name }: RequiredTensor, { num_hidden_layers: blocks }: ZayaConfig): QuantClass {
  if (name.endsWith('.conv_qk_grouped.weight')) return 'half';
  if (name.includes('.mlp.gate.')) return 'exact';
  const [, block, rest] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (rest === 'mlp.experts.down_proj') return { layer: 2 * Number(block) + 1, layers: 2 * blocks };
  if (rest?.startsWith('self_attn.qkv_proj.v_proj_')) return { layer: Number(block), layers: blocks };
  return 'usual';
}
