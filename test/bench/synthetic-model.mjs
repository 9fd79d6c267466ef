// A random checkpoint with ZAYA1-8B's block sizes and few blocks, for benchmarks: only its speed means
// anything.
import { randomFillSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requiredTensors } from '../../dist/models/runtime/weights.js';
import { parseZayaConfig } from '../../dist/models/zaya/config.js';
import { writeSafetensors } from '../../dist/weights/safetensors-write.js';

/** Sizes of ZAYA1-8B but for the number of blocks and the vocabulary. */
export function syntheticConfig({ blocks = 4, vocabulary = 8192 } = {}) {
  return {
    model_type: 'zaya',
    architectures: ['ZayaForCausalLM'],
    num_hidden_layers: blocks,
    vocab_size: vocabulary,
    hidden_size: 2048,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 128,
    moe_intermediate_size: 2048,
    num_experts: 16,
    router_hidden_size: 256,
    torch_dtype: 'bfloat16',
  };
}

/** Writes config.json and model.safetensors (BF16; balancing biases F32) into a folder that exists. */
export async function writeSyntheticModel(folder, config) {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const tensors = requiredTensors(parseZayaConfig(config)).map(({ name, shape, role }) => {
    const elements = shape.reduce((product, size) => product * size, 1);
    if (role === 'buffer') return { name, dtype: 'F32', shape, chunks: [new Uint8Array(elements * 4)] };
    const spread = role === 'vector' ? 0.05 : 1 / Math.sqrt(shape[shape.length - 1]);
    const centre = name.endsWith('_scale') || name.endsWith('norm.weight') || name.endsWith('.temp') ? 1 : 0;
    return { name, dtype: 'BF16', shape, chunks: randomBf16(elements, centre, spread) };
  });
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

/** Bits of `centre ± spread`, drawn from a pool of random values: a gigabyte need not be fresh noise. */
function* randomBf16(elements, centre, spread) {
  const POOL = 1 << 20;
  const random = new Int16Array(POOL);
  randomFillSync(random);
  const bits = new Uint16Array(POOL);
  const float = new Float32Array(1);
  const word = new Uint32Array(float.buffer);
  for (let i = 0; i < POOL; i++) {
    float[0] = centre + (random[i] / 32768) * spread * Math.sqrt(3);
    bits[i] = word[0] >>> 16;
  }
  for (let done = 0; done < elements; done += POOL) {
    const count = Math.min(POOL, elements - done);
    yield new Uint8Array(bits.buffer, 0, count * 2);
  }
}
