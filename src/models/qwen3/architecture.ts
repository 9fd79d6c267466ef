import { QWEN3 } from '../../families/qwen3.js';
import type { Architecture, QuantClass, RequiredTensor } from '../runtime/architecture.js';
import { parseQwen3Config, type Qwen3Config } from './config.js';
import { qwen3DecoderLayer, qwen3Embedding, qwen3Head } from './qwen3.js';

/**
 * Qwen3 and Qwen3-MoE: everything that the rest of the program knows of them, with their plain data in
 * `families/qwen3.ts`.
 */
export const QWEN3_ARCHITECTURE: Architecture<Qwen3Config> = {
  family: QWEN3,
  parseConfig: parseQwen3Config,
  example: (model_type) =>
    parseQwen3Config({
      model_type,
      vocab_size: 4,
      hidden_size: 4,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      head_dim: 4,
      intermediate_size: 2,
      moe_intermediate_size: 2,
      num_experts: 4,
      num_experts_per_tok: 2,
      norm_topk_prob: true,
    }),
  axes(config) {
    const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d, num_experts: E } = config;
    return {
      H: config.hidden_size,
      nq,
      nk,
      d,
      'nq*d': nq * d,
      'nk*d': nk * d,
      I: config.intermediate_size,
      E,
      k: config.num_experts_per_tok,
      F: E > 0 ? config.moe_intermediate_size : config.intermediate_size,
      V: config.vocab_size,
    };
  },
  states: ({ hidden_size }) => ({ hidden: hidden_size }),
  histories: () => ({}),
  attention(config, layerType) {
    return {
      rotary: config.head_dim,
      theta: config.rope_parameters.rope_theta,
      window: layerType === 'sliding_attention' ? (config.sliding_window ?? undefined) : undefined,
    };
  },
  withRope: (config, _, { theta = config.rope_parameters.rope_theta }) => ({
    ...config,
    rope_parameters: { rope_type: 'default', rope_theta: theta },
  }),
  classes: ({ num_experts }) => num_experts,
  tables: () => ({}),
  embedding: qwen3Embedding,
  block: qwen3DecoderLayer,
  head: qwen3Head,
  declared: ['self_attn.', 'mlp.', 'input_layernorm.', 'post_attention_layernorm.'],
  quantClass,
  describe: ({ num_experts_per_tok: experts }) => ({
    attention: ', norms of queries and keys',
    experts: `, ${experts} a token`,
  }),
};

/** The router: exact; value and down projections get more bits in some layers. */
function quantClass({ name }: RequiredTensor, { num_hidden_layers: layers }: Qwen3Config): QuantClass {
  const [, block, rest = ''] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (rest === 'mlp.gate.weight') return 'exact';
  const isMore = rest === 'self_attn.v_proj.weight' || /^mlp\.(experts\.)?down_proj/.test(rest);
  return isMore ? { layer: Number(block), layers } : 'usual';
}
