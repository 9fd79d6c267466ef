import { isQuantized } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import type { GgufValue, NativeGguf } from '../../native.js';
import type { Checkpoint, StoredTensor, TensorInfo } from '../../weights/checkpoint.js';
import { describeValue } from '../../weights/describe-value.js';
import { ConfigKeys } from '../runtime/config-keys.js';
import { refuseGgufMeaning } from '../runtime/gguf-meaning.js';
import { parseZayaConfig, type ZayaConfig } from './config.js';
import { type GgufDialect, ggufNames } from './gguf-names.js';
import { requiredTensors } from './weights.js';

const OP = 'openZayaGguf';
const GROUPED = '.conv_qk_grouped.weight';
const MAX_BLOCKS = 8192;
const MAX_SIZE = 2 ** 31 - 1;

/** A GGUF file as a model of the transformers layout. */
export interface ZayaGguf {
  dialect: GgufDialect;
  config: ZayaConfig;
  /** Tensors under the transformers layout's names; those that the model does not use keep their own. */
  checkpoint: Checkpoint;
}

/**
 * Tells the public `zaya` dialects apart, and presents config and tensors in the transformers layout. Reads no data; tensors whose
 * axes the file stores in another order (the tap-major grouped convolution) have `storedAxes`. The vocabulary is the embedding's rows.
 *
 * @param gguf what the addon's `ggufRead` gave; `stored` are its tensors, of all parts; `file` says where they came from.
 * @throws `BAD_CHECKPOINT` for another architecture, neither dialect, malformed tensors; `BAD_CONFIG` naming a metadata key;
 * `MISSING_TENSOR` naming the first missing GGUF tensor.
 */
export function openZayaGguf(gguf: NativeGguf, stored: Checkpoint, file: string): ZayaGguf {
  const architecture = gguf.metadata['general.architecture']?.value;
  if (architecture !== 'zaya') throw bad('general.architecture "zaya"', describeValue(architecture), file);
  const names = new Set([...stored.tensors.keys(), ...stored.unreadable.keys()]);
  const dialect = dialectOf(names, file);
  const config = readConfig(gguf, stored, dialect, file);
  return { dialect, config, checkpoint: nativeView(stored, config, dialect) };
}

function dialectOf(names: ReadonlySet<string>, file: string): GgufDialect {
  const has = (name: string): boolean => names.has(`blk.${name}.weight`);
  const hasBoth = has('0.attn_q') && has('0.ffn_gate_up_exps');
  const hasPostNorm = has('0.post_attention_norm') || has('0.post_attn_norm') || has('0.attn_norm_2');
  if (hasBoth && hasPostNorm) return 'blocks';
  const alternates = has('0.attn_q') && has('1.ffn_gate_up_exps');
  if (!hasBoth && !hasPostNorm && alternates && names.has('res_scale_hs.weight'))
    return has('0.cca_conv_dw') || has('1.zaya_router_down') ? 'half-layers-cca' : 'half-layers';
  throw bad(
    'a zaya dialect: half-layers (attention in even, experts in odd blocks, res_scale_hs) or blocks (both in each, post_attention_norm)',
    `blk.0 with${has('0.attn_q') ? '' : 'out'} attn_q, with${hasBoth ? '' : 'out'} ffn_gate_up_exps beside it, with${hasPostNorm ? '' : 'out'} post_attention_norm`,
    file,
  );
}

function readConfig(gguf: NativeGguf, stored: Checkpoint, dialect: GgufDialect, file: string): ZayaConfig {
  const keys = new ConfigKeys(plainMetadata(gguf.metadata), OP, file);
  refuseGgufMeaning('zaya', keys, stored, file);
  const size = (key: string): number => keys.size(`zaya.${key}`, MAX_SIZE);
  const blocks = keys.size('zaya.block_count', MAX_BLOCKS);
  if (dialect !== 'blocks' && blocks % 2 !== 0)
    throw keys.error('zaya.block_count', 'an even number of half-layers', blocks);
  const shapeOf = (name: string) => (stored.tensors.get(name) ?? stored.unreadable.get(name))?.shape;
  const heads = size('attention.head_count');
  // What a converter left out the tensors say.
  const headDim = keys.size(
    'zaya.attention.key_length',
    MAX_SIZE,
    (shapeOf('blk.0.attn_q.weight')?.[0] ?? 0) / heads,
  );
  const router = shapeOf(
    `blk.${dialect === 'blocks' ? 0 : 1}.${dialect === 'half-layers-cca' ? 'zaya_router_down' : 'ffn_gate_inp'}.weight`,
  )?.[0];
  const valueLength = keys.size('zaya.attention.value_length', MAX_SIZE, headDim);
  if (valueLength !== headDim)
    throw keys.error('zaya.attention.value_length', `${headDim}, as key_length`, valueLength);
  const rotary = keys.size('zaya.rope.dimension_count', headDim);
  const rope = (key: string, absent?: number) => ({
    rope_theta: keys.positive(key, absent),
    partial_rotary_factor: rotaryFactor(rotary, headDim),
  });
  const hybrid = rope('zaya.rope.freq_base');
  const token = (name: string) => keys.token(`tokenizer.ggml.${name}_token_id`, null);
  const embedding = shapeOf('token_embd.weight');
  const grouped = shapeOf('blk.0.cca_conv_grp.weight');
  if (embedding === undefined || grouped === undefined)
    throw missingError([embedding ? 'blk.0.cca_conv_grp.weight' : 'token_embd.weight'], file);
  const config = {
    model_type: 'zaya',
    vocab_size: embedding[0],
    hidden_size: size('embedding_length'),
    num_hidden_layers: dialect === 'blocks' ? blocks : blocks / 2,
    num_attention_heads: heads,
    num_key_value_heads: size('attention.head_count_kv'),
    head_dim: headDim,
    max_position_embeddings: size('context_length'),
    rms_norm_eps: epsilon(keys),
    tie_word_embeddings: shapeOf('output.weight') === undefined,
    moe_intermediate_size: size('feed_forward_length'),
    num_experts_per_tok: keys.literal('zaya.expert_used_count', [1], 1),
    num_experts: size('expert_count'),
    // Where a converter keeps the router's width at all, it is under this key.
    router_hidden_size: keys.size('zaya.expert_feed_forward_length', MAX_SIZE, router),
    cca_time0: size('ssm.conv_kernel'),
    cca_time1: groupedTaps(grouped, headDim),
    attention_bias: shapeOf('blk.0.attn_q.bias') !== undefined,
    lm_head_bias: shapeOf('output.bias') !== undefined,
    pad_token_id: token('padding'),
    bos_token_id: token('bos'),
    eos_token_id: token('eos'),
    ...slidingWindow(keys, blocks),
    rope_parameters: { hybrid, hybrid_sliding: rope('zaya.rope.freq_base_swa', hybrid.rope_theta) },
  };
  return parseZayaConfig(config, file);
}

/** Under the key of RMS norms, or where llama.cpp's base converter puts an epsilon that it takes for a LayerNorm's. */
function epsilon(keys: ConfigKeys): number {
  const [rms, other] = [
    'zaya.attention.layer_norm_rms_epsilon',
    'zaya.attention.layer_norm_epsilon',
  ] as const;
  if (!keys.has(rms) && keys.has(other)) return keys.positive(other);
  const value = keys.positive(rms);
  if (keys.has(other) && keys.positive(other) !== value)
    throw keys.error(other, `${value}, as layer_norm_rms_epsilon`, keys.raw(other));
  return value;
}

/** Kernel size of the grouped convolution, from its shape: [channels, head, taps], or tap-major [taps, channels, head]. */
function groupedTaps(shape: readonly number[], headDim: number): number | undefined {
  if (shape.length === 2) return 1;
  return shape[1] === headDim ? shape[2] : shape[0];
}

/** The factor that {@link rotaryDim} turns back into exactly `rotary` dimensions: a rounded-down quotient would lose one. */
function rotaryFactor(rotary: number, headDim: number): number {
  const factor = rotary / headDim;
  return Math.trunc(headDim * factor) === rotary ? factor : factor * (1 + Number.EPSILON);
}

/** Only the `blocks` dialect writes these keys. The window includes the query's own position, as in transformers. */
function slidingWindow(keys: ConfigKeys, blocks: number): Record<string, unknown> {
  const pattern = keys.list('zaya.attention.sliding_window_pattern');
  if (pattern === null || !pattern.some(Boolean)) return {};
  if (pattern.length !== blocks)
    throw keys.error('zaya.attention.sliding_window_pattern', `${blocks} entries`, pattern.length);
  return {
    layer_types: pattern.map((slides) => (slides ? 'hybrid_sliding' : 'hybrid')),
    sliding_window: keys.size('zaya.attention.sliding_window', MAX_SIZE),
  };
}

/** Metadata as a plain object. Arrays that repeat one value (per-block counts, zero where they do not apply) become that value. */
function plainMetadata(metadata: NativeGguf['metadata']): Record<string, unknown> {
  const perBlock = ['zaya.attention.head_count', 'zaya.attention.head_count_kv', 'zaya.feed_forward_length'];
  return Object.fromEntries(
    Object.entries(metadata).map(([key, { type, value }]: [string, GgufValue]) => {
      if (Array.isArray(value) && perBlock.includes(key)) {
        const used = [...new Set(value.filter((entry) => entry !== 0))];
        return [key, used.length === 1 ? used[0] : value];
      }
      return [key, type === 'f32' && typeof value === 'number' ? shortestFloat32(value) : value];
    }),
  );
}

/** The shortest decimal that rounds to the same float32: 1e-5 instead of 0.000009999999747378752. */
function shortestFloat32(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function nativeView(stored: Checkpoint, config: ZayaConfig, dialect: GgufDialect): Checkpoint {
  const names = ggufNames(config, dialect);
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  const used = new Set<string>();
  const missing: string[] = [];
  for (const required of requiredTensors(config)) {
    const candidates = names.get(required.name)!;
    const name = candidates.find((each) => stored.tensors.has(each) || stored.unreadable.has(each));
    if (name === undefined) {
      missing.push(candidates[0]!);
      continue;
    }
    used.add(name);
    const tensor = stored.tensors.get(name);
    if (tensor === undefined)
      unreadable.set(required.name, { ...stored.unreadable.get(name)!, name: required.name });
    else
      tensors.set(required.name, {
        ...tensor,
        name: required.name,
        ...nativeShape(tensor, required.shape, required.name),
      });
  }
  if (missing.length > 0) throw missingError(missing, stored.folder);
  for (const tensor of stored.tensors.values()) if (!used.has(tensor.name)) tensors.set(tensor.name, tensor);
  for (const tensor of stored.unreadable.values())
    if (!used.has(tensor.name)) unreadable.set(tensor.name, tensor);
  return { ...stored, tensors, unreadable };
}

/** GGUF drops axes of size one; and the grouped convolution may be tap-major. Other differences stay, for `checkWeights` to report. */
function nativeShape(
  tensor: TensorInfo,
  shape: readonly number[],
  name: string,
): Pick<TensorInfo, 'shape' | 'storedAxes'> {
  const squeezed = (sizes: readonly number[]) => String(sizes.filter((each) => each !== 1));
  if (squeezed(tensor.shape) === squeezed(shape)) return { shape };
  const [channels, head, taps] = shape;
  if (name.endsWith(GROUPED) && squeezed(tensor.shape) === squeezed([taps!, channels!, head!])) {
    if (!isQuantized(tensor.dtype)) return { shape, storedAxes: [2, 0, 1] };
    throw bad('a tap-major convolution in plain floats', tensor.dtype, `${name} in ${tensor.file}`);
  }
  return { shape: tensor.shape };
}

function missingError(missing: readonly string[], file: string): ZayascopeError {
  return new ZayascopeError(
    'MISSING_TENSOR',
    `${OP}: expected every tensor of the model, got ${missing.length} missing, first ${missing[0]} (${file})`,
    { op: OP, tensor: missing[0] },
  );
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_CHECKPOINT', `${OP}: expected ${expected}, got ${got} (${where})`, {
    op: OP,
    tensor: where,
  });
}
