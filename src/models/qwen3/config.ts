/**
 * The configurations of Qwen3 (`qwen3`) and Qwen3-MoE (`qwen3_moe`). Reference: transformers 5.18.0,
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/qwen3_moe/configuration_qwen3_moe.py
 *
 * Known deviations, all towards an error where the reference goes on: scaled RoPE, activations other than
 * SiLU, odd heads, types of blocks that the reference passes over.
 */
import { refuseMeaning } from '../layout/any-config.js';
import { ConfigKeys, configError, MAX } from '../layout/config-keys.js';
import type { ModelConfig } from '../runtime/architecture.js';

const OP = 'readQwen3Config';

/**
 * How a block attends: to everything before it, or to the last `sliding_window` positions (itself included).
 */
export type Qwen3LayerType = 'full_attention' | 'sliding_attention';

/** A validated configuration. Sizes are positive integers. */
export interface Qwen3Config extends ModelConfig {
  model_type: 'qwen3' | 'qwen3_moe';
  hidden_act: 'silu';
  layer_types: readonly Qwen3LayerType[];
  /** RoPE turns whole heads. */
  rope_parameters: { rope_type: 'default'; rope_theta: number };
  attention_bias: boolean;
  /** Width of the MLP of blocks without experts. */
  intermediate_size: number;
  /** 0 in a dense model. */
  num_experts: number;
  num_experts_per_tok: number;
  moe_intermediate_size: number;
  /** True if the weights of a token's experts are made to add up to 1. */
  norm_topk_prob: boolean;
  /** Every how many blocks has experts. */
  decoder_sparse_step: number;
  /** Blocks without experts besides. */
  mlp_only_layers: readonly number[];
}

/**
 * Validates a parsed `config.json`; absent keys take the reference's defaults. Throws `BAD_CONFIG` naming the
 * key.
 */
export function parseQwen3Config(json: Record<string, unknown>, where = 'config.json'): Qwen3Config {
  refuseMeaning(json, OP, where);
  const keys = new ConfigKeys(json, OP, where);
  const model_type = keys.literal('model_type', ['qwen3', 'qwen3_moe']);
  const isMoe = model_type === 'qwen3_moe';
  const heads = keys.size('num_attention_heads', MAX.heads, 32);
  const hidden_size = keys.size('hidden_size', MAX.width, isMoe ? 2048 : 4096);
  const layers = keys.size('num_hidden_layers', MAX.layers, isMoe ? 24 : 32);
  const { layer_types, sliding_window } = parseWindow(keys, layers, isMoe);
  const expertsKey = keys.has('num_experts') ? 'num_experts' : 'num_local_experts';
  const num_experts = isMoe ? keys.size(expertsKey, MAX.experts, 128) : 0;
  const config: Qwen3Config = {
    model_type,
    vocab_size: keys.size('vocab_size', MAX.count, 151_936),
    hidden_size,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keys.size('num_key_value_heads', MAX.heads, isMoe ? 4 : 32),
    head_dim:
      keys.has('head_dim') && keys.raw('head_dim') !== null
        ? keys.size('head_dim', MAX.width)
        : isMoe
          ? Math.trunc(hidden_size / heads)
          : 128,
    hidden_act: keys.literal('hidden_act', ['silu'], 'silu'),
    max_position_embeddings: keys.size('max_position_embeddings', MAX.count, 32_768),
    rms_norm_eps: keys.positive('rms_norm_eps', 1e-6),
    tie_word_embeddings: keys.flag('tie_word_embeddings', false),
    rope_parameters: parseRope(keys),
    sliding_window,
    layer_types,
    attention_bias: keys.flag('attention_bias', false),
    intermediate_size: keys.size('intermediate_size', MAX.width, isMoe ? 6144 : 22_016),
    num_experts,
    num_experts_per_tok: isMoe ? keys.size('num_experts_per_tok', MAX.experts, 8) : 0,
    moe_intermediate_size: isMoe ? keys.size('moe_intermediate_size', MAX.width, 768) : 0,
    norm_topk_prob: isMoe && keys.flag('norm_topk_prob', false),
    decoder_sparse_step: isMoe ? keys.size('decoder_sparse_step', MAX.count, 1) : 1,
    mlp_only_layers: isMoe ? parseBlocks(keys) : [],
    pad_token_id: keys.token('pad_token_id', null),
    bos_token_id: keys.token('bos_token_id', null),
    eos_token_id: keys.tokens('eos_token_id', null),
  };
  checkRelations(config, where);
  return config;
}

/** True for blocks with experts. */
export function hasExperts(config: Qwen3Config, block: number): boolean {
  return (
    config.num_experts > 0 &&
    !config.mlp_only_layers.includes(block) &&
    (block + 1) % config.decoder_sparse_step === 0
  );
}

function parseBlocks(keys: ConfigKeys): number[] {
  const list = keys.list('mlp_only_layers') ?? [];
  const wrong = list.find((each) => !Number.isSafeInteger(each) || (each as number) < 0);
  if (wrong !== undefined) throw keys.error('mlp_only_layers', 'block numbers', wrong);
  return list as number[];
}

/** Rotary parameters: `rope_parameters`, the older `rope_scaling`, which goes before it, or `rope_theta`. */
function parseRope(keys: ConfigKeys): Qwen3Config['rope_parameters'] {
  const older = keys.child('rope_scaling');
  const own = older?.isEmpty === false ? older : keys.child('rope_parameters');
  const flat = keys.has('rope_theta') ? keys.positive('rope_theta') : 10_000;
  if (own === null) return { rope_type: 'default', rope_theta: flat };
  for (const type of ['full_attention', 'sliding_attention'])
    if (own.has(type)) throw own.error(type, 'one set of rotary parameters for all blocks', own.raw(type));
  const rope_type = own.literal(own.has('rope_type') ? 'rope_type' : 'type', ['default'], 'default');
  return { rope_type, rope_theta: own.positive('rope_theta', flat) };
}

/** Which blocks see a window only: of a Qwen3-MoE all or none, whatever `layer_types` says. */
function parseWindow(keys: ConfigKeys, layers: number, isMoe: boolean) {
  const given = keys.list('layer_types');
  const slides = keys.flag('use_sliding_window', false) && keys.raw('sliding_window') !== null;
  const known = slides ? ['full_attention', 'sliding_attention'] : ['full_attention'];
  const possible = slides && isMoe ? ['sliding_attention'] : known;
  const wrong = given?.find((type) => !possible.includes(type as string));
  if (wrong !== undefined)
    throw keys.error(
      'layer_types',
      `${possible.map((type) => `'${type}'`).join(' or ')} where use_sliding_window is ${slides ? 'on' : 'off'}`,
      wrong,
    );
  if (given !== null && given.length !== layers)
    throw keys.error('layer_types', `${layers} entries, as num_hidden_layers says`, given.length);
  const from = isMoe ? 0 : keys.count('max_window_layers', 28);
  const byDefault = (block: number): Qwen3LayerType =>
    slides && block >= from ? 'sliding_attention' : 'full_attention';
  const layer_types = Array.from(
    { length: layers },
    (_, block) => (given?.[block] as Qwen3LayerType | undefined) ?? byDefault(block),
  );
  return { layer_types, sliding_window: slides ? keys.size('sliding_window', MAX.count, 4096) : null };
}

function checkRelations(config: Qwen3Config, where: string): void {
  const check = (holds: boolean, expected: string, got: string): void => {
    if (!holds) throw configError(OP, expected, got, where);
  };
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim, num_experts } = config;
  check(
    heads % kvHeads === 0,
    'num_attention_heads to be a multiple of num_key_value_heads',
    `${heads} and ${kvHeads}`,
  );
  check(head_dim % 2 === 0 && head_dim > 0, 'an even head_dim', `${head_dim}`);
  check(
    (heads + kvHeads) * head_dim <= MAX.width,
    `heads of at most ${MAX.width} values in all`,
    `${heads} of ${head_dim}`,
  );
  check(
    config.num_experts_per_tok <= num_experts,
    'num_experts_per_tok of at most num_experts',
    `${config.num_experts_per_tok} of ${num_experts}`,
  );
}
