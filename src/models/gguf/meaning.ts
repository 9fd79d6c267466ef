/**
 * What GGUF metadata and tensors may ask for that a model without such choices has not: refused by name, not
 * left out in silence.
 */
import { unmet } from '../../errors.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { ConfigKeys } from '../layout/config-keys.js';

const OP = 'openGguf';

/**
 * Keys of llama.cpp (`ARCH` for the architecture) that would change the result, and the values that change
 * nothing.
 */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  'general.type': ['model'],
  'general.quantization_version': [2],
  'ARCH.rope.scaling.type': ['none'],
  'ARCH.rope.scaling.factor': [0, 1],
  'ARCH.rope.scaling.attn_factor': [0, 1],
  'ARCH.rope.scale_linear': [1],
  'ARCH.logit_scale': [0, 1],
  'ARCH.embedding_scale': [0, 1],
  'ARCH.residual_scale': [0, 1],
  'ARCH.attn_logit_softcapping': [0],
  'ARCH.final_logit_softcapping': [0],
  'ARCH.attention.max_alibi_bias': [0],
  'ARCH.attention.clamp_kqv': [0],
  'ARCH.attention.scale': [0],
  'ARCH.attention.causal': [true],
  'ARCH.expert_shared_count': [0],
  'ARCH.leading_dense_block_count': [0],
  'ARCH.expert_weights_scale': [0, 1],
  'ARCH.expert_weights_norm': [false],
  // None, soft-max, and soft-max over the chosen weights; not the sigmoid.
  'ARCH.expert_gating_func': [0, 1, 3],
};

/**
 * @param keys the plain metadata. @throws `BAD_CONFIG` naming a key whose value is not neutral;
 * `BAD_CHECKPOINT` naming a tensor that scales others.
 */
export function refuseGgufMeaning(
  architecture: string,
  keys: ConfigKeys,
  stored: Checkpoint,
  file: string,
): void {
  for (const [pattern, neutral] of Object.entries(NEUTRAL)) {
    const key = pattern.replace('ARCH', architecture);
    if (keys.has(key) && !neutral.includes(keys.raw(key)))
      throw keys.error(
        key,
        `${neutral.map((value) => JSON.stringify(value)).join(' or ')}, for the model has no such choice`,
        keys.raw(key),
      );
  }
  for (const tensor of [...stored.tensors.values(), ...stored.unreadable.values()]) {
    const stem = /^(.+)\.(scale|input_scale|lora_a|lora_b)$/.exec(tensor.name)?.[1] ?? '';
    const scales = stored.tensors.has(`${stem}.weight`) || stored.unreadable.has(`${stem}.weight`);
    if (tensor.name !== 'rope_freqs.weight' && !/\.weight\.lora_[ab]$/.test(tensor.name) && !scales) continue;
    throw unmet(
      'BAD_CHECKPOINT',
      OP,
      'weights that are used as they stand',
      `${tensor.name} beside them, which scales others`,
      { where: file, tensor: tensor.name },
    );
  }
}
