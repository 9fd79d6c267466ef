import type { GgufValue } from '../../native.js';
import type { GgufPlan } from '../gguf/layout.js';
import { f32, generalKeys, planTensors, specialTokens, u32 } from '../gguf/plan.js';
import type { GgufType } from '../gguf/types.js';
import { configError } from '../layout/config-keys.js';
import type { RequiredTensor } from '../runtime/architecture.js';
import { rotaryDim, type ZayaConfig } from './config.js';
import { ggufNames } from './gguf-names.js';

const OP = 'planGguf';

/**
 * Lays out a model as the public llama.cpp branch reads it (80 half-layers for ZAYA1-8B; keys and names as
 * its converter writes them).
 *
 * @param config of what is written: vocabulary trimmed, head tied or not.
 * @param name for `general.name`.
 * @param tokenizer keys of an embedded tokenizer; without any, the file says that it has none.
 * @throws `BAD_CONFIG` for a model that this dialect cannot express: sliding windows.
 */
export function planGguf(
  config: ZayaConfig,
  type: GgufType,
  name: string,
  tokenizer: Readonly<Record<string, GgufValue>> | undefined,
): GgufPlan {
  const hybrid = config.rope_parameters.hybrid;
  if (hybrid === undefined || config.layer_types.includes('hybrid_sliding'))
    throw configError(
      OP,
      'layer_types without hybrid_sliding, for which the half-layer dialect has no keys',
      `layer_types with it in ${config.layer_types.filter((type) => type === 'hybrid_sliding').length} of ${config.num_hidden_layers} blocks`,
      name,
    );
  const names = ggufNames(config, 'half-layers');
  const { tensors, fallbacks } = planTensors(config, type, names, storedShape);
  const metadata: Record<string, GgufValue> = {
    ...generalKeys('zaya', name, type),
    'zaya.block_count': u32(2 * config.num_hidden_layers),
    'zaya.context_length': u32(config.max_position_embeddings),
    'zaya.embedding_length': u32(config.hidden_size),
    'zaya.feed_forward_length': u32(config.moe_intermediate_size),
    'zaya.attention.head_count': u32(config.num_attention_heads),
    'zaya.attention.head_count_kv': u32(config.num_key_value_heads),
    'zaya.attention.key_length': u32(config.head_dim),
    'zaya.attention.value_length': u32(config.head_dim),
    'zaya.attention.layer_norm_rms_epsilon': f32(config.rms_norm_eps),
    'zaya.rope.freq_base': f32(hybrid.rope_theta),
    'zaya.rope.dimension_count': u32(rotaryDim(config, 'hybrid')),
    'zaya.expert_count': u32(config.num_experts),
    'zaya.expert_used_count': u32(config.num_experts_per_tok),
    // The public converter keeps the router's width under this key.
    'zaya.expert_feed_forward_length': u32(config.router_hidden_size),
    'zaya.ssm.conv_kernel': u32(config.cca_time0),
    'zaya.vocab_size': u32(config.vocab_size),
    ...specialTokens(config),
    // What the tokenizer itself adds or names goes before the config's ids.
    ...(tokenizer ?? { 'tokenizer.ggml.model': { type: 'str', value: 'no_vocab' } }),
  };
  return { metadata, tensors, fallbacks };
}

/** The depthwise convolution drops its axis of size one: [C, 1, k] becomes [C, k]. */
function storedShape({ name, shape }: RequiredTensor): readonly number[] {
  return name.endsWith('.conv_qk_depthwise.weight') ? [shape[0]!, shape[2]!] : shape;
}
