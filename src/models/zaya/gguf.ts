import { describeValue } from '../../describe-value.js';
import { isQuantized } from '../../dtype.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { Checkpoint, TensorInfo } from '../../weights/checkpoint.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import type { GgufModel } from '../gguf/layout.js';
import { refuseGgufMeaning } from '../gguf/meaning.js';
import { missingError, nativeView, plainMetadata, squeezed } from '../gguf/read.js';
import { ConfigKeys } from '../layout/config-keys.js';
import type { RequiredTensor } from '../runtime/architecture.js';
import { requiredTensors } from '../runtime/weights.js';
import { parseZayaConfig, type ZayaConfig } from './config.js';
import { type GgufDialect, ggufNames } from './gguf-names.js';

const OP = 'openZayaGguf';
const GROUPED = '.conv_qk_grouped.weight';
/** Zero in half-layers that they do not apply to. */
const PER_BLOCK = ['zaya.attention.head_count', 'zaya.attention.head_count_kv', 'zaya.feed_forward_length'];
const MAX_BLOCKS = 8192;
const MAX_SIZE = 2 ** 31 - 1;

/**
 * Tells the public `zaya` dialects apart, and presents config and tensors in the transformers layout. Reads
 * no data; tensors whose axes the file stores in another order (the tap-major grouped convolution) have
 * `storedAxes`. The vocabulary is the embedding's rows.
 *
 * @param gguf what `readGgufHeader` gave; `stored` are its tensors, of all parts; `file` says where they came
 * from.
 * @throws `BAD_CHECKPOINT` for another architecture, neither dialect, malformed tensors; `BAD_CONFIG` naming
 * a metadata key;
 * `MISSING_TENSOR` naming the first missing GGUF tensor.
 */
export function openZayaGguf(
  gguf: GgufHeader,
  stored: Checkpoint,
  file: string,
): GgufModel<ZayaConfig> & { dialect: GgufDialect } {
  const architecture = gguf.metadata['general.architecture']?.value;
  if (architecture !== 'zaya') throw bad('general.architecture "zaya"', describeValue(architecture), file);
  const names = new Set([...stored.tensors.keys(), ...stored.unreadable.keys()]);
  const dialect = dialectOf(names, file);
  const config = readConfig(gguf, stored, dialect, file);
  const view = nativeView(OP, stored, requiredTensors(config), ggufNames(config, dialect), tapMajor);
  return { dialect, config, checkpoint: view };
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

function readConfig(gguf: GgufHeader, stored: Checkpoint, dialect: GgufDialect, file: string): ZayaConfig {
  const keys = new ConfigKeys(plainMetadata(gguf.metadata, PER_BLOCK), OP, file);
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
    throw missingError(OP, [embedding ? 'blk.0.cca_conv_grp.weight' : 'token_embd.weight'], file);
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

/**
 * Under the key of RMS norms, or where llama.cpp's base converter puts an epsilon that it takes for a
 * LayerNorm's.
 */
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

/**
 * Kernel size of the grouped convolution, from its shape: [channels, head, taps], or tap-major [taps,
 * channels, head].
 */
function groupedTaps(shape: readonly number[], headDim: number): number | undefined {
  if (shape.length === 2) return 1;
  return shape[1] === headDim ? shape[2] : shape[0];
}

/**
 * The factor that {@link rotaryDim} turns back into exactly `rotary` dimensions: a rounded-down quotient
 * would lose one.
 */
function rotaryFactor(rotary: number, headDim: number): number {
  const factor = rotary / headDim;
  return Math.trunc(headDim * factor) === rotary ? factor : factor * (1 + Number.EPSILON);
}

/**
 * Only the `blocks` dialect writes these keys. The window includes the query's own position, as in
 * transformers.
 */
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

/** The grouped convolution may be tap-major. */
function tapMajor(
  tensor: TensorInfo,
  { name, shape }: RequiredTensor,
): Pick<TensorInfo, 'shape' | 'storedAxes'> | undefined {
  const [channels, head, taps] = shape;
  if (!name.endsWith(GROUPED) || squeezed(tensor.shape) !== squeezed([taps!, channels!, head!]))
    return undefined;
  if (!isQuantized(tensor.dtype)) return { shape, storedAxes: [2, 0, 1] };
  throw bad('a tap-major convolution in plain floats', tensor.dtype, `${name} in ${tensor.file}`);
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_CHECKPOINT', OP, expected, got, { where, tensor: where });
}
