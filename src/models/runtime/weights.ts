/**
 * The tensors that a configuration requires, under the names of the transformers layout (the `state_dict` of
 * the reference's model).
 */
import { type Dtype, isQuantized } from '../../dtype.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { Checkpoint, TensorInfo } from '../../weights/checkpoint.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig, RequiredTensor, WeightRole } from './architecture.js';
import { traceModel } from './trace.js';

const OP = 'checkWeights';
const HEAD = 'lm_head.weight';

export type { RequiredTensor, WeightRole } from './architecture.js';

/**
 * The dtypes that weights may be stored in; matmul weights and the embedding of GGUF files may be quantised
 * too.
 */
const WEIGHT_DTYPES = ['BF16', 'F16', 'F32'] as const;

/**
 * Every tensor of the transformers layout that `config` needs, in the order of the reference's modules: files
 * are written in it.
 * @param hasHead true for a checkpoint with `lm_head.weight`; default: what the config says.
 */
export function requiredTensors(config: ModelConfig, hasHead?: boolean): readonly RequiredTensor[] {
  const { declared } = architectureOf(config);
  const { weights } = traceModel(config, { hasHead });
  const place = ({ name }: RequiredTensor): number => {
    const [, block, rest] = /^model\.layers\.(\d+)\.(.*)$/.exec(name) ?? [];
    if (block === undefined)
      return name.startsWith('model.norm') || name.startsWith('lm_head') ? Infinity : -1;
    return Number(block) * declared.length + declared.findIndex((start) => rest!.startsWith(start));
  };
  // Within a module the order in which it reads its weights is the order in which it declares them.
  return weights.toSorted((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
}

/** The result of {@link checkWeights}. */
export interface CheckedWeights {
  /** The required tensors, in the order of {@link requiredTensors}. */
  tensors: readonly (RequiredTensor & { info: TensorInfo })[];
  /**
   * The tensor that the LM head multiplies with. `lm_head.weight` also with `tie_word_embeddings` when the
   * checkpoint has it: the reference then uses it (it ties only equal tensors, where both give the same
   * logits).
   */
  lmHead: TensorInfo;
  /** Names in the checkpoint that the model does not use; worth a notice, not an error. Sorted. */
  unexpected: readonly string[];
}

/**
 * Finds every required tensor and checks shape and dtype.
 * @throws `MISSING_TENSOR` naming the first missing tensor and how many are missing; `BAD_CHECKPOINT` for a
 * wrong shape or a dtype other than BF16, F16 and F32 (or, for matmul weights and the embedding, a quantised
 * type).
 */
export function checkWeights(checkpoint: Checkpoint, config: ModelConfig): CheckedWeights {
  // The reference uses a head of its own also where the config ties it: both are equal then.
  const hasHead = !config.tie_word_embeddings || checkpoint.tensors.has(HEAD);
  const required = requiredTensors(config, hasHead);
  const missing = required.filter(
    ({ name }) => !checkpoint.tensors.has(name) && !checkpoint.unreadable.has(name),
  );
  if (missing.length > 0) throw missingError(missing, required.length, checkpoint);
  const tensors = required.map((tensor) => ({ ...tensor, info: checkTensor(tensor, checkpoint) }));
  const used = new Set(required.map(({ name }) => name));
  const present = [...checkpoint.tensors.keys(), ...checkpoint.unreadable.keys()];
  const lmHead = checkpoint.tensors.get(used.has(HEAD) ? HEAD : 'model.embed_tokens.weight')!;
  return { tensors, lmHead, unexpected: present.filter((name) => !used.has(name)).sort() };
}

function checkTensor(tensor: RequiredTensor, checkpoint: Checkpoint): TensorInfo {
  const { name, shape } = tensor;
  const info = checkpoint.tensors.get(name);
  const stored = info ?? checkpoint.unreadable.get(name)!;
  const where = `${name} in ${stored.file}`;
  if (info === undefined || !isWeightDtype(info.dtype, tensor.role))
    throw unmet('BAD_CHECKPOINT', OP, `a weight in ${WEIGHT_DTYPES.join(', ')}`, stored.dtype, {
      where,
      tensor: name,
      dtypes: [stored.dtype],
    });
  if (info.shape.length !== shape.length || info.shape.some((size, axis) => size !== shape[axis]))
    throw unmet(
      'BAD_CHECKPOINT',
      OP,
      `the shape [${shape.join(', ')}] that the config gives`,
      `[${info.shape.join(', ')}]`,
      { where, tensor: name, shapes: [shape, info.shape] },
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
  return unmet(
    'MISSING_TENSOR',
    OP,
    `${required} tensors`,
    `${required - missing.length}; ${missing.length} missing, first ${name} [${shape.join(', ')}]`,
    { where: checkpoint.folder, tensor: name, shapes: [shape] },
  );
}
