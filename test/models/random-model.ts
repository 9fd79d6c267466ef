import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from '../../src/models/architectures.js';
import { type RequiredTensor, requiredTensors } from '../../src/models/runtime/weights.js';
import type { ZayaConfig } from '../../src/models/zaya/config.js';
import { asLegacy } from '../../src/models/zaya/legacy.js';
import { toLegacyConfig } from '../../src/models/zaya/legacy-config.js';
import { openCheckpoint } from '../../src/weights/checkpoint.js';
import { type TensorSource, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { tensorChunks } from '../../src/weights/tensor-data.js';
import { seededIntegers } from '../weights/fixtures.js';

/** A config whose sizes are all different and odd where they can be. */
export const SMALL_CONFIG = {
  model_type: 'zaya',
  vocab_size: 61,
  hidden_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 8,
  moe_intermediate_size: 20,
  num_experts: 5,
  router_hidden_size: 12,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 0,
  rope_parameters: { hybrid: { rope_type: 'default', rope_theta: 1e5, partial_rotary_factor: 0.5 } },
};

/** A dense Qwen3, and one of experts, with sizes that are all different. */
export const QWEN3_CONFIG = {
  model_type: 'qwen3',
  vocab_size: 67,
  hidden_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 12,
  intermediate_size: 52,
  tie_word_embeddings: true,
};
export const QWEN3_MOE_CONFIG = {
  ...QWEN3_CONFIG,
  model_type: 'qwen3_moe',
  tie_word_embeddings: false,
  num_experts: 6,
  num_experts_per_tok: 2,
  moe_intermediate_size: 20,
  norm_topk_prob: true,
};

/** Rows of whole K-blocks. */
export const WIDE_CONFIG = {
  ...SMALL_CONFIG,
  vocab_size: 199,
  hidden_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  head_dim: 64,
  moe_intermediate_size: 256,
  num_experts: 4,
  router_hidden_size: 32,
};

export interface RandomModelOptions {
  seed?: number;
  dtype?: 'BF16' | 'F32';
  /** Bias of the skip class; default -1, which makes it unreachable. */
  skipBias?: number;
  /** Changes the values of one tensor. */
  edit?: (name: string, values: Float32Array) => void;
}

/**
 * Writes `config.json` and `model.safetensors` with seeded values, none left at a default; returns the
 * folder.
 */
export async function writeRandomModel(
  folder: string,
  json: Record<string, unknown> = SMALL_CONFIG,
  { seed = 1, dtype = 'BF16', skipBias = -1, edit }: RandomModelOptions = {},
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(json));
  const random = seededIntegers(seed);
  const tensors = requiredTensors(parseConfig(json)).map((required): TensorSource => {
    const values = randomValues(required, random, skipBias);
    edit?.(required.name, values);
    const isBuffer = required.role === 'buffer';
    const bytes = isBuffer || dtype === 'F32' ? new Uint8Array(values.buffer) : bfloat16(values);
    return { name: required.name, dtype: isBuffer ? 'F32' : dtype, shape: required.shape, chunks: [bytes] };
  });
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

/** The same model in the legacy layout; returns the folder. */
export async function writeLegacyModel(from: string, folder: string, config: ZayaConfig): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(toLegacyConfig(config)));
  const legacy = asLegacy(await openCheckpoint(from), config);
  const tensors = [...legacy.tensors.values()].map((tensor) => ({
    name: tensor.name,
    dtype: tensor.dtype as TensorSource['dtype'],
    shape: tensor.shape,
    chunks: tensorChunks(tensor),
  }));
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

function randomValues(
  { name, shape, role }: RequiredTensor,
  random: (limit: number) => number,
  skipBias: number,
): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  const uniform = () => (random(2 ** 24) / 2 ** 23 - 1) * Math.sqrt(3);
  const isScale = /_scale$|norm\.weight$|\.temp$/.test(name);
  const fanIn = role === 'conv' ? shape[1]! * shape[2]! : shape.at(-1)!;
  const [centre, spread] = isScale ? [1, 0.1] : role === 'vector' ? [0, 0.1] : [0, 1 / Math.sqrt(fanIn)];
  const values = Float32Array.from({ length: count }, () => centre + spread * uniform());
  if (role === 'buffer') {
    for (let i = 0; i < count; i++) values[i]! *= 0.02;
    values[count - 1] = skipBias;
  }
  return values;
}

/** BF16 by truncation: these need not be the nearest. */
function bfloat16(values: Float32Array): Uint8Array {
  const words = new Uint16Array(values.buffer);
  return new Uint8Array(Uint16Array.from(values, (_, i) => words[2 * i + 1]!).buffer);
}
