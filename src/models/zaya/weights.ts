/**
 * The tensors that a configuration requires, under the names of the transformers layout (the `state_dict` of `ZayaForCausalLM`,
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/zaya/modeling_zaya.py).
 */
import { type Dtype, isQuantized } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import type { Checkpoint, TensorInfo } from '../../weights/checkpoint.js';
import { convChannels, kWidth, qWidth, routerClasses, type ZayaConfig } from './config.js';

const OP = 'checkWeights';

/**
 * What a tensor is used for, which decides its dtype in a run: `matmul` and `embedding` may stay in the stored dtype, `conv` kernels and
 * `vector`s (norms, biases, scales) are small, a `buffer` is FP32 in the reference whatever the load dtype.
 */
export type WeightRole = 'embedding' | 'matmul' | 'conv' | 'vector' | 'buffer';

/** A tensor that a model needs. */
export interface RequiredTensor {
  name: string;
  /** Axes in the reference's order: output rows first. */
  shape: readonly number[];
  role: WeightRole;
}

/** The dtypes that weights may be stored in; matmul weights and the embedding of GGUF files may be quantised too. */
const WEIGHT_DTYPES = ['BF16', 'F16', 'F32'] as const;

/** Every tensor of the transformers layout that `config` needs, in the order of the reference's modules. */
export function requiredTensors(config: ZayaConfig): RequiredTensor[] {
  const { hidden_size: hidden, vocab_size: vocab } = config;
  const tensors: RequiredTensor[] = [
    { name: 'model.embed_tokens.weight', shape: [vocab, hidden], role: 'embedding' },
    { name: 'model.input_hidden_states_scale', shape: [hidden], role: 'vector' },
    { name: 'model.input_hidden_states_bias', shape: [hidden], role: 'vector' },
  ];
  for (let block = 0; block < config.num_hidden_layers; block++)
    for (const tensor of blockTensors(config, block))
      tensors.push({ ...tensor, name: `model.layers.${block}.${tensor.name}` });
  tensors.push({ name: 'model.norm.weight', shape: [hidden], role: 'vector' });
  if (!config.tie_word_embeddings)
    tensors.push({ name: 'lm_head.weight', shape: [vocab, hidden], role: 'matmul' });
  if (config.lm_head_bias) tensors.push({ name: 'lm_head.bias', shape: [vocab], role: 'vector' });
  return tensors;
}

function blockTensors(config: ZayaConfig, block: number): RequiredTensor[] {
  const { hidden_size: hidden, router_hidden_size: router, num_experts: experts } = config;
  const channels = convChannels(config);
  const classes = routerClasses(config);
  const expert = config.moe_intermediate_size;
  const vector = (name: string, size: number): RequiredTensor => ({ name, shape: [size], role: 'vector' });
  const weight = (name: string, role: WeightRole, ...shape: number[]): RequiredTensor => ({
    name,
    shape,
    role,
  });
  const linear = (name: string, out: number, input: number, bias: boolean): RequiredTensor[] => [
    weight(`${name}.weight`, 'matmul', out, input),
    ...(bias ? [vector(`${name}.bias`, out)] : []),
  ];
  const residualScale = (name: string): RequiredTensor[] =>
    ['hidden_states_scale', 'hidden_states_bias', 'residual_scale', 'residual_bias'].map((each) =>
      vector(`${name}.${each}`, hidden),
    );
  const hasBias = config.attention_bias;
  return [
    ...linear('self_attn.o_proj', hidden, qWidth(config), hasBias),
    ...linear('self_attn.qkv_proj.q_proj', qWidth(config), hidden, hasBias),
    ...linear('self_attn.qkv_proj.k_proj', kWidth(config), hidden, hasBias),
    ...linear('self_attn.qkv_proj.v_proj_current', kWidth(config) / 2, hidden, hasBias),
    ...linear('self_attn.qkv_proj.v_proj_delayed', kWidth(config) / 2, hidden, hasBias),
    weight('self_attn.qkv_proj.conv_qk_depthwise.weight', 'conv', channels, 1, config.cca_time0),
    vector('self_attn.qkv_proj.conv_qk_depthwise.bias', channels),
    weight('self_attn.qkv_proj.conv_qk_grouped.weight', 'conv', channels, config.head_dim, config.cca_time1),
    vector('self_attn.qkv_proj.conv_qk_grouped.bias', channels),
    vector('self_attn.qk_norm.temp', config.num_key_value_heads),
    ...linear('mlp.gate.down_proj', router, hidden, true),
    // The first block has no earlier router state to scale.
    ...(block === 0 ? [] : [vector('mlp.gate.router_states_scale', router)]),
    vector('mlp.gate.router_mlp.norm.weight', router),
    ...linear('mlp.gate.router_mlp.fc1', router, router, true),
    ...linear('mlp.gate.router_mlp.fc2', router, router, true),
    ...linear('mlp.gate.router_mlp.out_proj', classes, router, false),
    weight('mlp.gate.balancing_biases', 'buffer', classes),
    weight('mlp.experts.gate_up_proj', 'matmul', experts, 2 * expert, hidden),
    weight('mlp.experts.down_proj', 'matmul', experts, hidden, expert),
    vector('input_layernorm.weight', hidden),
    vector('post_attention_layernorm.weight', hidden),
    ...residualScale('post_attention_residual_scale'),
    ...residualScale('post_mlp_residual_scale'),
  ];
}

/** The result of {@link checkWeights}. */
export interface CheckedWeights {
  /** The required tensors, in the order of {@link requiredTensors}. */
  tensors: readonly (RequiredTensor & { info: TensorInfo })[];
  /**
   * The tensor that the LM head multiplies with. `lm_head.weight` also with `tie_word_embeddings` when the checkpoint has it:
   * the reference then uses it (it ties only equal tensors, where both give the same logits).
   */
  lmHead: TensorInfo;
  /** Names in the checkpoint that the model does not use; worth a notice, not an error. Sorted. */
  unexpected: readonly string[];
}

/**
 * Finds every required tensor and checks shape and dtype.
 * @throws `MISSING_TENSOR` naming the first missing tensor and how many are missing; `BAD_CHECKPOINT` for a wrong shape or a dtype other
 * than BF16, F16 and F32 (or, for matmul weights and the embedding, a quantised type).
 */
export function checkWeights(checkpoint: Checkpoint, config: ZayaConfig): CheckedWeights {
  const required = requiredTensors(config);
  const head = {
    name: 'lm_head.weight',
    shape: [config.vocab_size, config.hidden_size],
    role: 'matmul',
  } as const;
  if (config.tie_word_embeddings && checkpoint.tensors.has(head.name)) required.push(head);
  const missing = required.filter(
    ({ name }) => !checkpoint.tensors.has(name) && !checkpoint.unreadable.has(name),
  );
  if (missing.length > 0) throw missingError(missing, required.length, checkpoint);
  const tensors = required.map((tensor) => ({ ...tensor, info: checkTensor(tensor, checkpoint) }));
  const used = new Set(required.map(({ name }) => name));
  const present = [...checkpoint.tensors.keys(), ...checkpoint.unreadable.keys()];
  const lmHead = checkpoint.tensors.get(used.has(head.name) ? head.name : 'model.embed_tokens.weight')!;
  return { tensors, lmHead, unexpected: present.filter((name) => !used.has(name)).sort() };
}

function checkTensor(tensor: RequiredTensor, checkpoint: Checkpoint): TensorInfo {
  const { name, shape } = tensor;
  const info = checkpoint.tensors.get(name);
  const stored = info ?? checkpoint.unreadable.get(name)!;
  const where = `${name} in ${stored.file}`;
  if (info === undefined || !isWeightDtype(info.dtype, tensor.role))
    throw new ZayascopeError(
      'BAD_CHECKPOINT',
      `${OP}: expected a weight in ${WEIGHT_DTYPES.join(', ')}, got ${stored.dtype} (${where})`,
      { op: OP, tensor: name, dtypes: [stored.dtype] },
    );
  if (info.shape.length !== shape.length || info.shape.some((size, axis) => size !== shape[axis]))
    throw new ZayascopeError(
      'BAD_CHECKPOINT',
      `${OP}: expected the shape [${shape.join(', ')}] that the config gives, got [${info.shape.join(', ')}] (${where})`,
      { op: OP, tensor: name, shapes: [shape, info.shape] },
    );
  return info;
}

function isWeightDtype(dtype: Dtype, role: WeightRole): boolean {
  const isMatrix = role === 'matmul' || role === 'embedding';
  return (WEIGHT_DTYPES as readonly string[]).includes(dtype) || (isMatrix && isQuantized(dtype));
}

function missingError(
  missing: readonly RequiredTensor[],
  required: number,
  checkpoint: Checkpoint,
): ZayascopeError {
  const { name, shape } = missing[0]!;
  return new ZayascopeError(
    'MISSING_TENSOR',
    `${OP}: expected ${required} tensors, got ${required - missing.length}; ${missing.length} missing, first ${name} [${shape.join(', ')}] (${checkpoint.folder})`,
    { op: OP, tensor: name, shapes: [shape] },
  );
}
