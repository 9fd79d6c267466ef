import type { Dtype } from '../../dtype.js';
import type { GgufValue } from '../../native.js';
import type { GgufTensorSpec } from '../../weights/gguf-write.js';
import { configError } from '../runtime/config-keys.js';
import { rotaryDim, type ZayaConfig } from './config.js';
import { ggufNames } from './gguf-names.js';
import { type GgufType, ggufDtype, ggufFileType } from './gguf-types.js';
import { type RequiredTensor, requiredTensors } from './weights.js';

const OP = 'planGguf';

/** A tensor that the rows of its matrix forced to another dtype than its type asks for. */
export interface DtypeFallback {
  /** GGUF name. */
  tensor: string;
  columns: number;
  wanted: Dtype;
  used: Dtype;
}

/** What a GGUF file of a model will hold. */
export interface GgufPlan {
  metadata: Record<string, GgufValue>;
  /** In the order of the file; `source` is the same tensor in the transformers layout. */
  tensors: readonly (GgufTensorSpec & { source: RequiredTensor })[];
  fallbacks: readonly DtypeFallback[];
}

/**
 * Lays out a model as the public llama.cpp branch reads it (80 half-layers for ZAYA1-8B; keys and names as its converter writes them).
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
      'some',
      name,
    );
  const names = ggufNames(config, 'half-layers');
  const fallbacks: DtypeFallback[] = [];
  const tensors = requiredTensors(config).map((source) => {
    const { dtype, wanted } = ggufDtype(source, type, config);
    const spec = { name: names.get(source.name)![0]!, dtype, shape: storedShape(source), source };
    if (dtype !== wanted)
      fallbacks.push({ tensor: spec.name, columns: source.shape.at(-1)!, wanted, used: dtype });
    return spec;
  });
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  const f32 = (value: number): GgufValue => ({ type: 'f32', value: Math.fround(value) });
  const text = (value: string): GgufValue => ({ type: 'str', value });
  const metadata: Record<string, GgufValue> = {
    'general.architecture': text('zaya'),
    'general.type': text('model'),
    'general.name': text(name),
    'general.file_type': u32(ggufFileType(type)),
    'general.quantization_version': u32(2),
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
    ...(tokenizer ?? { 'tokenizer.ggml.model': text('no_vocab') }),
  };
  return { metadata, tensors, fallbacks };
}

/** The depthwise convolution drops its axis of size one: [C, 1, k] becomes [C, k]. */
function storedShape({ name, shape }: RequiredTensor): readonly number[] {
  return name.endsWith('.conv_qk_depthwise.weight') ? [shape[0]!, shape[2]!] : shape;
}

/** GGUF has room for one id each; of several eos ids the first. */
function specialTokens(config: ZayaConfig): Record<string, GgufValue> {
  const eos =
    typeof config.eos_token_id === 'object' ? (config.eos_token_id?.[0] ?? null) : config.eos_token_id;
  const ids = { bos: config.bos_token_id, eos, padding: config.pad_token_id };
  return Object.fromEntries(
    Object.entries(ids)
      .filter(([, id]) => id !== null && id >= 0 && id < config.vocab_size)
      .map(([kind, id]) => [`tokenizer.ggml.${kind}_token_id`, { type: 'u32', value: id! }]),
  );
}
