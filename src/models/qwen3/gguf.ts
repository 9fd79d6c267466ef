/**
 * GGUF files of Qwen3 with the names of llama.cpp (`general.architecture` `qwen3` and `qwen3moe`):
 * https://github.com/ggml-org/llama.cpp/blob/master/src/llama-arch.cpp
 */
import type { GgufValue } from '../../native.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import type { GgufModel, GgufPlan } from '../gguf/layout.js';
import { refuseGgufMeaning } from '../gguf/meaning.js';
import { f32, generalKeys, planTensors, specialTokens, u32 } from '../gguf/plan.js';
import { missingError, nativeView, plainMetadata } from '../gguf/read.js';
import type { GgufType } from '../gguf/types.js';
import { ConfigKeys, configError } from '../layout/config-keys.js';
import { requiredTensors } from '../runtime/weights.js';
import { hasExperts, parseQwen3Config, type Qwen3Config } from './config.js';

const OP = 'openQwen3Gguf';
const MAX_SIZE = 2 ** 31 - 1;

/** Names behind the block's prefix, without `.weight`. */
const BLOCK: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'mlp.gate': 'ffn_gate_inp',
  'mlp.experts.gate_proj': 'ffn_gate_exps',
  'mlp.experts.up_proj': 'ffn_up_exps',
  'mlp.experts.down_proj': 'ffn_down_exps',
};

const MODEL: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
};

function ggufName(name: string): string {
  const [, block, module, leaf = '.weight'] =
    /^model\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?$/.exec(name) ?? [];
  return block === undefined ? MODEL[name]! : `blk.${block}.${BLOCK[module!]}${leaf}`;
}

function namesOf(config: Qwen3Config): Map<string, readonly string[]> {
  return new Map(requiredTensors(config).map(({ name }) => [name, [ggufName(name)]]));
}

/** See `GgufLayout`. */
export function openQwen3Gguf(gguf: GgufHeader, stored: Checkpoint, file: string): GgufModel<Qwen3Config> {
  const architecture = String(gguf.metadata['general.architecture']?.value);
  const keys = new ConfigKeys(plainMetadata(gguf.metadata), OP, file);
  refuseGgufMeaning(architecture, keys, stored, file);
  const isMoe = architecture === 'qwen3moe';
  const size = (key: string): number => keys.size(`${architecture}.${key}`, MAX_SIZE);
  const shapeOf = (name: string) => (stored.tensors.get(name) ?? stored.unreadable.get(name))?.shape;
  const embedding = shapeOf('token_embd.weight');
  if (embedding === undefined) throw missingError(OP, ['token_embd.weight'], file);
  const heads = size('attention.head_count');
  const head_dim = keys.size(
    `${architecture}.attention.key_length`,
    MAX_SIZE,
    (shapeOf('blk.0.attn_q.weight')?.[0] ?? 0) / heads,
  );
  const token = (name: string) => keys.token(`tokenizer.ggml.${name}_token_id`, null);
  const experts = isMoe
    ? {
        num_experts: size('expert_count'),
        num_experts_per_tok: size('expert_used_count'),
        moe_intermediate_size: keys.size(
          `${architecture}.expert_feed_forward_length`,
          MAX_SIZE,
          shapeOf('blk.0.ffn_gate_exps.weight')?.[1],
        ),
        // llama.cpp has no key for it: it always divides.
        norm_topk_prob: true,
      }
    : {};
  const config = parseQwen3Config(
    {
      model_type: isMoe ? 'qwen3_moe' : 'qwen3',
      vocab_size: embedding[0],
      hidden_size: size('embedding_length'),
      num_hidden_layers: size('block_count'),
      num_attention_heads: heads,
      num_key_value_heads: size('attention.head_count_kv'),
      head_dim,
      intermediate_size: keys.size(`${architecture}.feed_forward_length`, MAX_SIZE, isMoe ? 1 : undefined),
      max_position_embeddings: size('context_length'),
      rms_norm_eps: keys.positive(`${architecture}.attention.layer_norm_rms_epsilon`),
      rope_parameters: {
        rope_type: 'default',
        rope_theta: keys.positive(`${architecture}.rope.freq_base`, 10_000),
      },
      tie_word_embeddings: shapeOf('output.weight') === undefined,
      attention_bias: shapeOf('blk.0.attn_q.bias') !== undefined,
      pad_token_id: token('padding'),
      bos_token_id: token('bos'),
      eos_token_id: token('eos'),
      ...experts,
    },
    file,
  );
  const checkpoint = nativeView(OP, stored, requiredTensors(config), namesOf(config));
  return { dialect: architecture, config, checkpoint };
}

/** See `GgufLayout`. Refused is what llama.cpp has no key for. */
export function planQwen3Gguf(
  config: Qwen3Config,
  type: GgufType,
  name: string,
  tokenizer: Readonly<Record<string, GgufValue>> | undefined,
): GgufPlan {
  const refuse = (wrong: boolean, expected: string, got: string): void => {
    if (wrong) throw configError('planGguf', expected, got, name);
  };
  const isMoe = config.model_type === 'qwen3_moe';
  const dense = config.layer_types.findIndex((_, block) => isMoe && !hasExperts(config, block));
  refuse(
    config.sliding_window !== null,
    'a model without sliding windows, for which llama.cpp has no keys',
    `use_sliding_window true, sliding_window ${config.sliding_window}`,
  );
  refuse(
    config.attention_bias,
    'a model without biases of attention, for which llama.cpp has no tensors',
    'attention_bias true',
  );
  refuse(dense >= 0, 'experts in every block, as llama.cpp expects them', `none in block ${dense}`);
  refuse(isMoe && !config.norm_topk_prob, 'norm_topk_prob true, as llama.cpp always divides', 'false');
  const architecture = isMoe ? 'qwen3moe' : 'qwen3';
  const own: Record<string, GgufValue> = {
    block_count: u32(config.num_hidden_layers),
    context_length: u32(config.max_position_embeddings),
    embedding_length: u32(config.hidden_size),
    feed_forward_length: u32(config.intermediate_size),
    'attention.head_count': u32(config.num_attention_heads),
    'attention.head_count_kv': u32(config.num_key_value_heads),
    'attention.key_length': u32(config.head_dim),
    'attention.value_length': u32(config.head_dim),
    'attention.layer_norm_rms_epsilon': f32(config.rms_norm_eps),
    'rope.freq_base': f32(config.rope_parameters.rope_theta),
    vocab_size: u32(config.vocab_size),
    ...(isMoe
      ? {
          expert_count: u32(config.num_experts),
          expert_used_count: u32(config.num_experts_per_tok),
          expert_feed_forward_length: u32(config.moe_intermediate_size),
        }
      : {}),
  };
  const metadata: Record<string, GgufValue> = {
    ...generalKeys(architecture, name, type),
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value])),
    ...specialTokens(config),
    ...(tokenizer ?? { 'tokenizer.ggml.model': { type: 'str', value: 'no_vocab' } as const }),
  };
  return { metadata, ...planTensors(config, type, namesOf(config)) };
}
