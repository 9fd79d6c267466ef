import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { checkWeights, requiredTensors } from '../../src/models/runtime/weights.js';
import { parseZayaConfig, type ZayaConfig } from '../../src/models/zaya/config.js';
import type { Checkpoint, StoredTensor, TensorInfo } from '../../src/weights/checkpoint.js';

const SMALL: ZayaConfig = parseZayaConfig({
  model_type: 'zaya',
  vocab_size: 67,
  hidden_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 8,
  moe_intermediate_size: 16,
  num_experts: 3,
  router_hidden_size: 12,
});

function stored<D extends string>(name: string, dtype: D, shape: readonly number[]): StoredTensor<D> {
  return { name, dtype, shape, file: 'model.safetensors', offsetBytes: 0, sizeBytes: 0, parts: [] };
}

/** A checkpoint (headers only) that has what `config` needs, with some tensors replaced or removed. */
function checkpointFor(config: ZayaConfig, changes: Record<string, StoredTensor | null> = {}): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  for (const { name, shape } of requiredTensors(config)) tensors.set(name, stored(name, 'BF16', shape));
  for (const [name, tensor] of Object.entries(changes)) {
    tensors.delete(name);
    if (tensor?.dtype === 'F8_E4M3') unreadable.set(name, tensor);
    else if (tensor) tensors.set(name, tensor as TensorInfo);
  }
  return { folder: 'folder', tensors, unreadable, files: ['model.safetensors'], metadata: new Map() };
}

function rejection(changes: Record<string, StoredTensor | null>): ZayascopeError {
  try {
    checkWeights(checkpointFor(SMALL, changes), SMALL);
  } catch (error) {
    if (error instanceof ZayascopeError) return error;
    throw error;
  }
  throw new Error('accepted');
}

function parameters(config: ZayaConfig): number {
  return requiredTensors(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

describe('tensors of a zaya model', () => {
  it('counts the 1283 tensors and 8,840,489,464 parameters of the 8B', () => {
    const config = parseZayaConfig({ model_type: 'zaya' });
    expect(requiredTensors(config)).toHaveLength(1283);
    expect(parameters(config)).toBe(8_840_489_464);
    expect(parameters({ ...config, vocab_size: 262_147 })).toBe(8_840_233_464);
  });

  it('counts the 1923 tensors of the 74B', () => {
    const layer_types = Array.from({ length: 60 }, (_, block) => (block % 2 ? 'hybrid' : 'hybrid_sliding'));
    const shape = {
      hidden_size: 4096,
      num_attention_heads: 16,
      num_experts: 24,
      moe_intermediate_size: 4096,
    };
    const config = parseZayaConfig({
      model_type: 'zaya',
      num_hidden_layers: 60,
      layer_types,
      sliding_window: 4097,
      ...shape,
    });
    expect(requiredTensors(config)).toHaveLength(1923);
    expect(parameters(config) / 1e9).toBeCloseTo(74.79, 1);
  });

  it('names each tensor once', () => {
    const names = requiredTensors(SMALL).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('asks for the optional biases and an untied head only where the config has them', () => {
    const names = (config: ZayaConfig) => new Set(requiredTensors(config).map(({ name }) => name));
    const plain = names(SMALL);
    const full = names({ ...SMALL, attention_bias: true, lm_head_bias: true, tie_word_embeddings: false });
    const added = [...full].filter((name) => !plain.has(name));
    expect(added).toHaveLength(5 * 3 + 2);
    expect(added).toContain('model.layers.2.self_attn.qkv_proj.v_proj_delayed.bias');
    expect(added.slice(-2)).toEqual(['lm_head.weight', 'lm_head.bias']);
  });
});

describe('checkWeights', () => {
  it('locates every tensor with its role and lists the ones it does not know', () => {
    const extra = {
      'model.extra': stored('model.extra', 'I64', [1]),
      'a.fp8': stored('a.fp8', 'F8_E4M3', [1]),
    };
    const checked = checkWeights(checkpointFor(SMALL, extra), SMALL);
    expect(checked.tensors).toHaveLength(requiredTensors(SMALL).length);
    expect(checked.tensors.find(({ role }) => role === 'buffer')?.info.shape).toEqual([4]);
    expect(checked.unexpected).toEqual(['a.fp8', 'model.extra']);
    expect(checked.lmHead.name).toBe('model.embed_tokens.weight');
  });

  it('uses an lm_head.weight that a tied checkpoint has all the same, as the reference does', () => {
    const head = { 'lm_head.weight': stored('lm_head.weight', 'F32', [67, 32]) };
    const checked = checkWeights(checkpointFor(SMALL, head), SMALL);
    expect(checked.lmHead.name).toBe('lm_head.weight');
    expect(checked.unexpected).toEqual([]);
    expect(rejection({ 'lm_head.weight': stored('lm_head.weight', 'F32', [66, 32]) }).code).toBe(
      'BAD_CHECKPOINT',
    );
  });

  it('names the first missing tensor and how many are missing', () => {
    const error = rejection({
      'model.layers.1.mlp.gate.balancing_biases': null,
      'model.layers.2.mlp.experts.down_proj': null,
    });
    expect(error.code).toBe('MISSING_TENSOR');
    expect(error.tensor).toBe('model.layers.1.mlp.gate.balancing_biases');
    expect(error.message).toContain('2 missing, first model.layers.1.mlp.gate.balancing_biases [4]');
  });

  it('rejects a wrong shape with both shapes', () => {
    for (const shape of [[32, 8], [8, 31], [8], [8, 32, 1]]) {
      const name = 'model.layers.0.self_attn.qkv_proj.v_proj_current.weight';
      const error = rejection({ [name]: stored(name, 'BF16', shape) });
      expect(error).toMatchObject({ code: 'BAD_CHECKPOINT', tensor: name, shapes: [[8, 32], shape] });
    }
  });

  it.each(['I32', 'F64', 'Q8_0', 'F8_E4M3'])('rejects a weight stored as %s', (dtype) => {
    const error = rejection({ 'model.norm.weight': stored('model.norm.weight', dtype, [32]) });
    expect(error).toMatchObject({ code: 'BAD_CHECKPOINT', tensor: 'model.norm.weight', dtypes: [dtype] });
    expect(error.message).toContain('BF16, F16, F32');
  });
});
