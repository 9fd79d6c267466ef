/**
 * The configuration of the transformers layout: field names are the keys of `config.json`.
 * Reference: `ZayaConfig` of transformers 5.18.0,
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/zaya/configuration_zaya.py
 *
 * Known deviations, all towards an error where the reference goes on silently: a flat `rope_theta` that
 * contradicts the value in force, rotary sizes that are odd, zero or wider than the head, zero-sized models,
 * activations other than SiLU, scaled RoPE.
 */
import { join } from 'node:path';
import { readSmallFile } from '../../weights/file-access.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { refuseMeaning } from '../layout/any-config.js';
import { ConfigKeys, configError, MAX } from '../layout/config-keys.js';
import type { ModelConfig } from '../runtime/architecture.js';
import { fromLegacyConfig, isLegacyConfig } from './legacy-config.js';

const OP = 'readZayaConfig';
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * How a block attends: to everything before it, or to the last `sliding_window` positions (itself included).
 */
export type LayerType = 'hybrid' | 'hybrid_sliding';

/** Rotary embedding of one layer type. */
export interface RopeParameters {
  /** Scaled kinds are rejected. */
  rope_type: 'default';
  /** Base of the angles. */
  rope_theta: number;
  /** Part of each head that is rotated; see {@link rotaryDim}. */
  partial_rotary_factor: number;
}

/** A validated configuration. Sizes are positive integers. */
export interface ZayaConfig extends ModelConfig {
  model_type: 'zaya';
  hidden_act: 'silu';
  /** An entry for every layer type that occurs in `layer_types`. */
  rope_parameters: Readonly<Partial<Record<LayerType, RopeParameters>>>;
  moe_intermediate_size: number;
  num_experts_per_tok: 1;
  /** Real experts; the router has one class more, which skips the MoE. */
  num_experts: number;
  layer_types: readonly LayerType[];
  attention_bias: boolean;
  lm_head_bias: boolean;
  router_hidden_size: number;
  /** Kernel size of the depthwise convolution. */
  cca_time0: number;
  /** Kernel size of the grouped convolution. */
  cca_time1: number;
}

/** The reference's defaults for `rope_parameters`. */
const DEFAULT_ROPE = {
  hybrid: { rope_type: 'default', rope_theta: 5_000_000, partial_rotary_factor: 0.5 },
  hybrid_sliding: { rope_type: 'default', rope_theta: 10_000, partial_rotary_factor: 0.5 },
} as const satisfies Record<LayerType, RopeParameters>;

/** Upper bound of a kernel size, far above any real model. */
const MAX_KERNEL = 1024;

/**
 * Reads and validates `config.json` of a model folder.
 * @throws `IO` when it cannot be read, `BAD_CONFIG` as {@link parseZayaConfig}.
 */
export async function readZayaConfig(folder: string): Promise<ZayaConfig> {
  const file = join(folder, 'config.json');
  const bytes = await readSmallFile(OP, file, MAX_CONFIG_BYTES);
  return parseZayaConfig(parseJsonObject(bytes, { code: 'BAD_CONFIG', op: OP, where: file }), file);
}

/**
 * Validates a parsed `config.json`. Absent keys take the reference's defaults, keys that it does not know are
 * ignored. A config of the legacy layout (half-layers, scalars or lists) is translated first; its checkpoint
 * then needs `asNative`.
 *
 * @param where the file, for messages; default `config.json`.
 * @throws `BAD_CONFIG` naming the key, what was expected and what came.
 */
export function parseZayaConfig(json: Record<string, unknown>, where = 'config.json'): ZayaConfig {
  refuseMeaning(json, OP, where);
  new ConfigKeys(json, OP, where).literal('model_type', ['zaya']);
  const native = isLegacyConfig(json) ? fromLegacyConfig(json, OP, where) : json;
  const keys = new ConfigKeys(native, OP, where);
  const num_hidden_layers = keys.size('num_hidden_layers', MAX.layers, 40);
  const layer_types = parseLayerTypes(keys, num_hidden_layers);
  const config: ZayaConfig = {
    model_type: 'zaya',
    vocab_size: keys.size('vocab_size', MAX.count, 262_272),
    hidden_size: keys.size('hidden_size', MAX.width, 2048),
    num_hidden_layers,
    num_attention_heads: keys.size('num_attention_heads', MAX.heads, 8),
    num_key_value_heads: keys.size('num_key_value_heads', MAX.heads, 2),
    head_dim: keys.size('head_dim', MAX.width, 128),
    hidden_act: keys.literal('hidden_act', ['silu'], 'silu'),
    max_position_embeddings: keys.size('max_position_embeddings', MAX.count, 131_072),
    rms_norm_eps: keys.positive('rms_norm_eps', 1e-5),
    tie_word_embeddings: keys.flag('tie_word_embeddings', true),
    rope_parameters: parseRope(keys, layer_types),
    sliding_window: parseWindow(keys, layer_types),
    moe_intermediate_size: keys.size('moe_intermediate_size', MAX.width, 2048),
    num_experts_per_tok: keys.literal('num_experts_per_tok', [1], 1),
    num_experts: keys.size('num_experts', MAX.experts, 16),
    layer_types,
    pad_token_id: keys.token('pad_token_id', 0),
    bos_token_id: keys.token('bos_token_id', 2),
    eos_token_id: keys.tokens('eos_token_id', 106),
    attention_bias: keys.flag('attention_bias', false),
    lm_head_bias: keys.flag('lm_head_bias', false),
    router_hidden_size: keys.size('router_hidden_size', MAX.width, 256),
    cca_time0: keys.size('cca_time0', MAX_KERNEL, 2),
    cca_time1: keys.size('cca_time1', MAX_KERNEL, 2),
  };
  checkRelations(config, where);
  return config;
}

function parseLayerTypes(keys: ConfigKeys, count: number): LayerType[] {
  const given = keys.list('layer_types');
  if (given === null) return new Array<LayerType>(count).fill('hybrid');
  const wrong = given.findIndex((type) => type !== 'hybrid' && type !== 'hybrid_sliding');
  if (wrong >= 0) throw keys.error(`layer_types[${wrong}]`, "'hybrid' or 'hybrid_sliding'", given[wrong]);
  if (given.length !== count)
    throw keys.error('layer_types', `${count} entries, as num_hidden_layers says`, given.length);
  return given as LayerType[];
}

function parseWindow(keys: ConfigKeys, layerTypes: readonly LayerType[]): number | null {
  if (!layerTypes.includes('hybrid_sliding')) return null;
  return keys.size('sliding_window', MAX.count);
}

/**
 * `rope_parameters` is nested per layer type; a `rope_type` beside the layer types is a published mistake
 * that the reference drops.
 */
function parseRope(
  keys: ConfigKeys,
  layerTypes: readonly LayerType[],
): Partial<Record<LayerType, RopeParameters>> {
  const present = (['hybrid', 'hybrid_sliding'] as const).filter((type) => layerTypes.includes(type));
  const parameters = keys.child('rope_parameters');
  // The older key of the same thing: transformers takes either; PrimeRL writes both.
  const scaling = keys.child('rope_scaling');
  if (scaling !== null) checkScaling(keys, scaling, parameters, present);
  const nested = parameters ?? scaling;
  const result: Partial<Record<LayerType, RopeParameters>> = {};
  for (const type of present) {
    const entry = nested === null ? null : nested.child(type);
    if (nested !== null && entry === null)
      throw keys.error(
        `rope_parameters.${type}`,
        'an object with rope_theta, as layer_types needs it',
        undefined,
      );
    result[type] = entry === null ? DEFAULT_ROPE[type] : parseRopeEntry(entry);
  }
  // The reference ignores flat keys and would silently run with other angles than the file says.
  for (const key of ['rope_theta', 'partial_rotary_factor'] as const)
    if (nested === null && keys.has(key) && result.hybrid && keys.positive(key) !== result.hybrid[key])
      throw keys.error(
        key,
        `rope_parameters.hybrid.${key} (transformers ignores the flat key and uses ${result.hybrid[key]})`,
        keys.positive(key),
      );
  return result;
}

/**
 * `rope_scaling` must say the same as `rope_parameters` where both are there, and nothing about scaled RoPE.
 */
function checkScaling(
  keys: ConfigKeys,
  scaling: ConfigKeys,
  parameters: ConfigKeys | null,
  present: readonly LayerType[],
): void {
  for (const type of present) {
    const entry = scaling.child(type);
    if (entry === null)
      throw keys.error(
        'rope_scaling',
        'unscaled RoPE: entries per layer type, as rope_parameters has them',
        keys.raw('rope_scaling'),
      );
    const [given, other] = [parseRopeEntry(entry), parameters?.child(type)];
    const expected = other === undefined || other === null ? given : parseRopeEntry(other);
    for (const key of ['rope_theta', 'partial_rotary_factor'] as const)
      if (given[key] !== expected[key])
        throw keys.error(
          `rope_scaling.${type}.${key}`,
          `${expected[key]}, as rope_parameters says`,
          given[key],
        );
  }
}

function parseRopeEntry(entry: ConfigKeys): RopeParameters {
  return {
    rope_type: entry.literal(entry.has('rope_type') ? 'rope_type' : 'type', ['default'], 'default'),
    rope_theta: entry.positive('rope_theta'),
    // Absent means the whole head, as in the reference; only an absent rope_parameters means half.
    partial_rotary_factor: entry.positive('partial_rotary_factor', 1),
  };
}

function checkRelations(config: ZayaConfig, where: string): void {
  const check = (holds: boolean, expected: string, got: string): void => {
    if (!holds) throw configError(OP, expected, got, where);
  };
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headDim } = config;
  check(
    heads % kvHeads === 0,
    'num_attention_heads to be a multiple of num_key_value_heads',
    `${heads} and ${kvHeads}`,
  );
  check(
    convChannels(config) <= MAX.width,
    `(num_attention_heads + num_key_value_heads) * head_dim of at most ${MAX.width}`,
    `${convChannels(config)}`,
  );
  check(
    kWidth(config) % 2 === 0,
    'an even num_key_value_heads * head_dim (values come in two halves)',
    `${kvHeads} * ${headDim}`,
  );
  for (const type of ['hybrid', 'hybrid_sliding'] as const) {
    if (config.rope_parameters[type] === undefined) continue;
    const rotary = rotaryDim(config, type);
    check(
      rotary > 0 && rotary % 2 === 0 && rotary <= headDim,
      `rope_parameters.${type}.partial_rotary_factor to rotate an even number of the head's ${headDim} dimensions`,
      `${config.rope_parameters[type].partial_rotary_factor}, which rotates ${rotary}`,
    );
  }
}

/** Width of all query heads: `num_attention_heads * head_dim`. */
export function qWidth(config: ZayaConfig): number {
  return config.num_attention_heads * config.head_dim;
}

/** Width of all key heads, and of all value heads: `num_key_value_heads * head_dim`. */
export function kWidth(config: ZayaConfig): number {
  return config.num_key_value_heads * config.head_dim;
}

/** Channels of both convolutions: queries and keys side by side. */
export function convChannels(config: ZayaConfig): number {
  return qWidth(config) + kWidth(config);
}

/** Groups of the grouped convolution: one per query head, then one per key head. */
export function convGroups(config: ZayaConfig): number {
  return config.num_attention_heads + config.num_key_value_heads;
}

/** Rows of raw queries and keys that the two convolutions look back together. */
export function convStateLength(config: ZayaConfig): number {
  return config.cca_time0 - 1 + (config.cca_time1 - 1);
}

/** Query heads that share one key head. */
export function queryGroups(config: ZayaConfig): number {
  return config.num_attention_heads / config.num_key_value_heads;
}

/** Classes of the router: the experts, and last the one that skips the MoE. */
export function routerClasses(config: ZayaConfig): number {
  return config.num_experts + 1;
}

/** Leading dimensions of each head that RoPE rotates in blocks of a type; truncated as the reference does. */
export function rotaryDim(config: ZayaConfig, type: LayerType): number {
  return Math.trunc(config.head_dim * (config.rope_parameters[type]?.partial_rotary_factor ?? 0));
}
