/**
 * Configs of the legacy layout, in which attention and MoE alternate as half-layers (Zyphra's transformers
 * branch `zaya1`, and the ZAYA1-base form whose values are lists with an entry per half-layer).
 * Reference:
 * https://github.com/Zyphra/transformers/blob/2d6c3a26/src/transformers/models/zaya/configuration_zaya.py
 *
 * Not carried over, because the reference of the transformers layout has no such choice: `residual_in_fp32`
 * (it always keeps the residual stream in FP32) and `zaya_high_prec`.
 */
import { ConfigKeys } from '../layout/config-keys.js';
import type { ZayaConfig } from './config.js';

const LEGACY_KEYS = [
  'zaya_layers',
  'ffn_hidden_size',
  'ffn_hidden_size_list',
  'cca_num_q_heads',
  'num_query_groups',
  'num_query_groups_list',
  'zaya_mlp_expansion',
  'moe_router_topk',
  'zaya_use_mod',
  'zaya_use_eda',
];

/** Keys that every config of the transformers layout has and no legacy one. */
const NATIVE_KEYS = ['moe_intermediate_size', 'router_hidden_size'];

const MAX_HALF_LAYERS = 8192;
const MAX_SIZE = 2 ** 25;

/** True for configs of the legacy layout: they have its keys and none of the transformers layout's. */
export function isLegacyConfig(json: Record<string, unknown>): boolean {
  const has = (key: string): boolean => Object.hasOwn(json, key);
  return LEGACY_KEYS.some(has) && !NATIVE_KEYS.some(has);
}

/**
 * The same model under the keys of the transformers layout, for `parseZayaConfig` to validate.
 *
 * Where a value is a list per half-layer, the entries of the half-layers it applies to must agree.
 * `zaya_layers`, where present, decides the number of half-layers and of experts; the scalar
 * `num_hidden_layers` of such configs is known to be wrong. Longer lists are padding. The legacy window
 * excludes the query's own position, `sliding_window` includes it.
 *
 * @throws `BAD_CONFIG` naming the legacy key.
 */
export function fromLegacyConfig(
  json: Record<string, unknown>,
  op: string,
  where: string,
): Record<string, unknown> {
  const halfLayers = countHalfLayers(new ConfigKeys(json, op, where));
  const keys = new ConfigKeys(flatten(json, halfLayers, op, where), op, where);
  checkFlags(keys);
  const size = (key: string): number => keys.size(key, MAX_SIZE);
  const heads = keys.has('cca_num_q_heads') ? 'cca_num_q_heads' : 'num_attention_heads';
  const kept = [
    'vocab_size',
    'max_position_embeddings',
    'tie_word_embeddings',
    'attention_bias',
    'lm_head_bias',
  ];
  kept.push('pad_token_id', 'bos_token_id', 'cca_time0', 'cca_time1');
  return {
    ...Object.fromEntries(kept.filter((key) => keys.has(key)).map((key) => [key, keys.raw(key)])),
    model_type: 'zaya',
    hidden_size: size('hidden_size'),
    num_hidden_layers: halfLayers / 2,
    num_attention_heads: size(heads),
    num_key_value_heads: keyValueHeads(keys),
    head_dim: headDim(keys),
    rms_norm_eps: keys.positive('norm_epsilon', 1e-5),
    moe_intermediate_size: expertWidth(keys),
    num_experts_per_tok: keys.literal('moe_router_topk', [1], 1),
    num_experts: size('num_experts'),
    router_hidden_size: size('zaya_mlp_expansion'),
    eos_token_id: keys.tokens('eos_token_id', 1),
    ...attention(keys, halfLayers),
  };
}

/** The inverse: a scalar legacy config of the same model, as ZAYA1-8B-legacy has it. */
export function toLegacyConfig(config: ZayaConfig): Record<string, unknown> {
  const { hybrid, hybrid_sliding: sliding } = config.rope_parameters;
  const window = (config.sliding_window ?? 1) - 1;
  return {
    architectures: ['ZayaForCausalLM'],
    model_type: 'zaya',
    cca: true,
    vocab_size: config.vocab_size,
    hidden_size: config.hidden_size,
    num_hidden_layers: 2 * config.num_hidden_layers,
    num_attention_heads: config.num_attention_heads,
    num_query_groups: config.num_key_value_heads,
    num_key_value_heads: config.num_key_value_heads,
    head_dim: config.head_dim,
    ffn_hidden_size: 2 * config.moe_intermediate_size,
    num_experts: config.num_experts,
    moe_router_topk: config.num_experts_per_tok,
    zaya_mlp_expansion: config.router_hidden_size,
    zaya_use_mod: true,
    zaya_use_eda: true,
    scale_residual_merge: true,
    residual_in_fp32: true,
    clamp_temp: false,
    gated_linear_unit: true,
    activation_func: 'swiglu',
    normalization: 'RMSNorm',
    norm_epsilon: config.rms_norm_eps,
    max_position_embeddings: config.max_position_embeddings,
    rope_scaling: false,
    rope_theta: (hybrid ?? sliding)?.rope_theta,
    partial_rotary_factor: (hybrid ?? sliding)?.partial_rotary_factor,
    ...(sliding && {
      swa_layers: config.layer_types.flatMap((type) => [type === 'hybrid_sliding' ? window : 0, 0]),
      swa_rotary_base: sliding.rope_theta,
    }),
    cca_time0: config.cca_time0,
    cca_time1: config.cca_time1,
    attention_bias: config.attention_bias,
    lm_head_bias: config.lm_head_bias,
    tie_word_embeddings: config.tie_word_embeddings,
    pad_token_id: config.pad_token_id,
    bos_token_id: config.bos_token_id,
    eos_token_id: config.eos_token_id,
  };
}

function countHalfLayers(keys: ConfigKeys): number {
  const layers = keys.list('zaya_layers');
  const key = layers === null ? 'num_hidden_layers' : 'zaya_layers';
  const count = layers?.length ?? keys.size(key, MAX_HALF_LAYERS);
  if (count % 2 !== 0 || count === 0 || count > MAX_HALF_LAYERS)
    throw keys.error(key, `an even number of half-layers, up to ${MAX_HALF_LAYERS}`, count);
  const wrong = layers?.findIndex((layer, index) => (layer === 'a') !== (index % 2 === 0)) ?? -1;
  if (wrong >= 0) throw keys.error(`zaya_layers[${wrong}]`, "'a' and expert counts in turn", layers?.[wrong]);
  return count;
}

/**
 * Replaces lists per half-layer by the one value that they repeat, and brings the list keys to the names of
 * the scalar form.
 */
function flatten(
  json: Record<string, unknown>,
  halfLayers: number,
  op: string,
  where: string,
): Record<string, unknown> {
  const keys = new ConfigKeys(json, op, where);
  const flat = { ...json };
  const lists = [
    { list: 'cca_num_q_heads', scalar: 'cca_num_q_heads', first: 0 },
    { list: 'num_query_groups_list', scalar: 'num_query_groups', first: 0 },
    { list: 'ffn_hidden_size_list', scalar: 'ffn_hidden_size', first: 1 },
    { list: 'zaya_mlp_expansion', scalar: 'zaya_mlp_expansion', first: 1 },
    { list: 'zaya_layers', scalar: 'num_experts', first: 1 },
  ];
  for (const { list, scalar, first } of lists) {
    const values = keys.raw(list);
    if (!Array.isArray(values)) continue;
    if (values.length < halfLayers)
      throw keys.error(list, `an entry for each of ${halfLayers} half-layers`, values.length);
    const used = values.slice(0, halfLayers).filter((_, index) => index % 2 === first);
    const other = used.find((value) => value !== used[0]);
    const kind = first === 0 ? 'attention' : 'MoE';
    if (other !== undefined) throw keys.error(list, `one value in all ${kind} half-layers`, [used[0], other]);
    flat[scalar] = used[0];
  }
  return flat;
}

/**
 * The legacy code has switches for parts that the model always has; no published checkpoint turns one off.
 */
function checkFlags(keys: ConfigKeys): void {
  for (const flag of ['cca', 'gated_linear_unit', 'scale_residual_merge', 'zaya_use_eda', 'zaya_use_mod'])
    keys.literal(flag, [true], true);
  for (const flag of ['clamp_temp', 'add_bias_linear']) keys.literal(flag, [false], false);
  keys.literal('activation_func', ['swiglu'], 'swiglu');
  keys.literal('normalization', ['RMSNorm'], 'RMSNorm');
  const scaling = keys.raw('rope_scaling') ?? false;
  if (scaling !== false) throw keys.error('rope_scaling', 'false or null', scaling);
}

function keyValueHeads(keys: ConfigKeys): number {
  const names = ['num_query_groups', 'num_key_value_heads'].filter((key) => keys.has(key));
  const [first, second] = names.map((key) => keys.size(key, MAX_SIZE));
  if (first === undefined) return keys.size('num_query_groups', MAX_SIZE);
  if (second !== undefined && second !== first)
    throw keys.error('num_key_value_heads', `${first}, as num_query_groups says`, second);
  return first;
}

function headDim(keys: ConfigKeys): number {
  for (const key of ['head_dim', 'kv_channels'])
    if ((keys.raw(key) ?? null) !== null) return keys.size(key, MAX_SIZE);
  // Without either, the class divides; its num_attention_heads then counts the uncompressed heads.
  const [hidden, heads] = [keys.size('hidden_size', MAX_SIZE), keys.size('num_attention_heads', MAX_SIZE)];
  if (hidden % heads !== 0)
    throw keys.error('num_attention_heads', `a divisor of hidden_size ${hidden}`, heads);
  return hidden / heads;
}

function expertWidth(keys: ConfigKeys): number {
  const fused = keys.size('ffn_hidden_size', MAX_SIZE);
  if (fused % 2 !== 0) throw keys.error('ffn_hidden_size', 'an even size (gate and up rows together)', fused);
  return fused / 2;
}

/** Layer types, window and RoPE. */
function attention(keys: ConfigKeys, halfLayers: number): Record<string, unknown> {
  const rope = {
    rope_theta: keys.positive('rope_theta'),
    partial_rotary_factor: keys.positive('partial_rotary_factor', 0.5),
  };
  const given = keys.list('swa_layers') ?? [];
  if (given.length > 0 && given.length < halfLayers)
    throw keys.error('swa_layers', `an entry for each of ${halfLayers} half-layers`, given.length);
  const windows = given.slice(0, halfLayers).filter((_, index) => index % 2 === 0);
  const wrong = windows.find(
    (window) => window !== null && !(Number.isSafeInteger(window) && (window as number) >= 0),
  );
  if (wrong !== undefined) throw keys.error('swa_layers', 'windows of at least 0', wrong);
  const sliding = [...new Set(windows.filter((window) => window))] as number[];
  if (sliding.length > 1) throw keys.error('swa_layers', 'one window in all sliding half-layers', sliding);
  if (sliding.length === 0) return { rope_parameters: { hybrid: rope } };
  return {
    layer_types: windows.map((window) => (window ? 'hybrid_sliding' : 'hybrid')),
    sliding_window: sliding[0]! + 1,
    rope_parameters: {
      hybrid: rope,
      hybrid_sliding: { ...rope, rope_theta: keys.positive('swa_rotary_base', rope.rope_theta) },
    },
  };
}
