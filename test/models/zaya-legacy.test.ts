import { describe, expect, it } from 'vitest';
import type { ZayascopeError } from '../../src/errors.js';
import { checkWeights, requiredTensors } from '../../src/models/runtime/weights.js';
import { parseZayaConfig, type ZayaConfig } from '../../src/models/zaya/config.js';
import { asLegacy, asNative, isLegacyCheckpoint } from '../../src/models/zaya/legacy.js';
import { toLegacyConfig } from '../../src/models/zaya/legacy-config.js';
import { type Checkpoint, openCheckpoint, type StoredTensor } from '../../src/weights/checkpoint.js';
import { weightsSha256 } from '../../src/weights/identity.js';
import { type TensorSource, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { readTensor, tensorChunks } from '../../src/weights/tensor-data.js';
import { seededIntegers, temporaryFolder } from '../weights/fixtures.js';

const ROPE = { hybrid: { rope_theta: 1e6, partial_rotary_factor: 0.5 } };
const SMALL = parseZayaConfig({
  model_type: 'zaya',
  vocab_size: 19,
  hidden_size: 8,
  num_hidden_layers: 3,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  head_dim: 4,
  moe_intermediate_size: 6,
  num_experts: 3,
  router_hidden_size: 5,
  rope_parameters: ROPE,
});

/** Writes a checkpoint of a config whose tensors all differ, in BF16 but for F32 buffers. */
async function writeNative(config: ZayaConfig): Promise<Checkpoint> {
  const folder = await temporaryFolder();
  const tensors = requiredTensors(config).map(({ name, shape, role }, index): TensorSource => {
    const dtype = role === 'buffer' ? 'F32' : 'BF16';
    const length = shape.reduce((a, b) => a * b, dtype === 'F32' ? 4 : 2);
    return {
      name,
      dtype,
      shape,
      chunks: [Uint8Array.from({ length }, (_, at) => (at * 7 + index * 13) % 256)],
    };
  });
  await writeSafetensors(`${folder}/model.safetensors`, tensors);
  return openCheckpoint(folder);
}

async function writeCopy(checkpoint: Checkpoint): Promise<Checkpoint> {
  const folder = await temporaryFolder();
  const tensors = [...checkpoint.tensors.values()] as (StoredTensor & Pick<TensorSource, 'dtype'>)[];
  await writeSafetensors(
    `${folder}/model.safetensors`,
    tensors.map((tensor) => ({ ...tensor, chunks: tensorChunks(tensor, 50) })),
  );
  return openCheckpoint(folder);
}

describe('legacy checkpoint', () => {
  it('presents the same native tensors, byte for byte, after a trip through a legacy file', async () => {
    const native = await writeNative(SMALL);
    const legacy = await writeCopy(asLegacy(native, SMALL));
    expect([isLegacyCheckpoint(native), isLegacyCheckpoint(legacy)]).toEqual([false, true]);
    const view = asNative(legacy, SMALL);
    expect(checkWeights(view, SMALL).unexpected).toEqual([]);
    expect(await weightsSha256(view)).toBe(await weightsSha256(native));
    for (const [name, info] of native.tensors)
      expect(await readTensor(view.tensors.get(name)!), name).toEqual(await readTensor(info));
    expect(view.tensors.get('model.layers.1.mlp.experts.gate_up_proj')?.parts).toHaveLength(3);
  });

  it('returns a native checkpoint as it is', async () => {
    const native = await writeNative(SMALL);
    expect(asNative(native, SMALL)).toBe(native);
  });

  it('has the 2483 tensors of ZAYA1-8B-legacy', () => {
    const config = parseZayaConfig({ model_type: 'zaya' });
    const tensors = new Map(
      requiredTensors(config).map(({ name, shape }) => {
        const sizeBytes = shape.reduce((a, b) => a * b, 2);
        const part = { file: 'f', offsetBytes: 0, sizeBytes };
        return [name, { name, dtype: 'BF16' as const, shape, ...part, parts: [part] }];
      }),
    );
    const native = { folder: '', tensors, unreadable: new Map(), files: [], metadata: new Map() };
    const legacy = asLegacy(native, config);
    expect(legacy.tensors.size).toBe(2483);
    expect(asNative(legacy, config).tensors.size).toBe(1283);
    expect(
      legacy.tensors.get('model.layers.79.zaya_block.experts.local_experts.15.linear_fc1.weight'),
    ).toMatchObject({
      shape: [4096, 2048],
      offsetBytes: 15 * 4096 * 2048 * 2,
    });
  });

  it('puts the residual scales of a sub-block at the entry of the next half-layer', async () => {
    const native = await writeNative(SMALL);
    const legacy = asLegacy(native, SMALL);
    const pairs = {
      'model.input_hidden_states_bias': 'model.layers.0.res_scale.hidden_states_bias',
      'model.layers.0.post_attention_residual_scale.residual_scale':
        'model.layers.1.res_scale.residual_scale',
      'model.layers.0.post_mlp_residual_scale.residual_bias': 'model.layers.2.res_scale.residual_bias',
      'model.layers.2.post_mlp_residual_scale.hidden_states_scale': 'model.res_scale.hidden_states_scale',
      'model.layers.1.post_attention_layernorm.weight': 'model.layers.3.input_norm.weight',
      'model.layers.2.mlp.gate.balancing_biases': 'model.layers.5.zaya_block.router.balancing_biases',
      'model.layers.2.self_attn.qk_norm.temp': 'model.layers.4.self_attn.qkv.temp',
      'model.layers.1.self_attn.qkv_proj.conv_qk_grouped.bias': 'model.layers.2.self_attn.qkv.conv_qk.1.bias',
      'model.norm.weight': 'model.final_norm.weight',
    };
    for (const [from, to] of Object.entries(pairs))
      expect(legacy.tensors.get(to)?.offsetBytes, to).toBe(native.tensors.get(from)!.offsetBytes);
    expect(legacy.tensors.has('model.layers.0.res_scale.residual_scale')).toBe(false);
    expect(legacy.tensors.has('model.layers.1.zaya_block.router.router_states_scale')).toBe(false);
  });

  it('covers an untied head and biases', async () => {
    const config = { ...SMALL, attention_bias: true, lm_head_bias: true, tie_word_embeddings: false };
    const native = await writeNative(config);
    const legacy = asLegacy(native, config);
    expect(legacy.tensors.has('model.layers.2.self_attn.qkv.val_proj2.bias')).toBe(true);
    expect(legacy.tensors.has('lm_head.weight')).toBe(true);
    expect(await weightsSha256(asNative(legacy, config))).toBe(await weightsSha256(native));
  });

  it('keeps tensors that it does not know for the notice', async () => {
    const legacy = asLegacy(await writeNative(SMALL), SMALL);
    const extra = { ...legacy.tensors.get('model.final_norm.weight')!, name: 'model.extra' };
    const view = asNative(
      { ...legacy, tensors: new Map([...legacy.tensors, ['model.extra', extra]]) },
      SMALL,
    );
    expect(checkWeights(view, SMALL).unexpected).toEqual(['model.extra']);
  });

  it('names missing and unequal experts by their legacy names', async () => {
    const legacy = asLegacy(await writeNative(SMALL), SMALL);
    const name = 'model.layers.3.zaya_block.experts.local_experts.1.linear_fc2.weight';
    const without = new Map(legacy.tensors);
    without.delete(name);
    expect(() => asNative({ ...legacy, tensors: without }, SMALL)).toThrow(
      expect.objectContaining({ code: 'MISSING_TENSOR', tensor: name }),
    );
    const odd = new Map(legacy.tensors).set(name, { ...legacy.tensors.get(name)!, shape: [6, 8] });
    expect(() => asNative({ ...legacy, tensors: odd }, SMALL)).toThrow(
      expect.objectContaining({ code: 'BAD_CHECKPOINT', tensor: name }),
    );
    expect(() => asLegacy(legacy, SMALL)).toThrow(expect.objectContaining({ code: 'MISSING_TENSOR' }));
  });
});

/** A ZAYA1-base style config with `blocks` blocks: lists with an entry per half-layer. */
function listConfig(blocks: number): Record<string, unknown> {
  const lists = (attention: unknown, moe: unknown) =>
    Array.from({ length: blocks }, () => [attention, moe]).flat();
  return {
    model_type: 'zaya',
    cca: true,
    hidden_size: 2048,
    vocab_size: 262272,
    num_hidden_layers: 120,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    kv_channels: 128,
    zaya_layers: lists('a', 16),
    cca_num_q_heads: lists(8, 0),
    num_query_groups_list: lists(2, 0),
    ffn_hidden_size_list: lists(0, 4096),
    zaya_mlp_expansion: lists(0, 256),
    norm_epsilon: 1e-5,
    rope_theta: 1e6,
    partial_rotary_factor: 0.5,
    rope_scaling: false,
    max_position_embeddings: 32768,
    zaya_use_mod: true,
    zaya_use_eda: true,
    residual_in_fp32: false,
    eos_token_id: 1,
  };
}

describe('legacy config', () => {
  it('reads the lists of ZAYA1-base, which win over the scalar layer count', () => {
    const config = parseZayaConfig(listConfig(40));
    const native = parseZayaConfig({
      model_type: 'zaya',
      max_position_embeddings: 32768,
      eos_token_id: 1,
      rope_parameters: ROPE,
    });
    expect(config).toEqual(native);
  });

  it('reads lists that are padded beyond the layers', () => {
    const padded = { ...listConfig(3), ffn_hidden_size_list: [0, 4096, 0, 4096, 0, 4096, 0, 9999, 7] };
    expect(parseZayaConfig(padded)).toMatchObject({ num_hidden_layers: 3, moe_intermediate_size: 2048 });
  });

  it('reads the scalars of ZAYA1-8B-legacy, and derives the head size where it is absent', () => {
    const scalars = { ...toLegacyConfig(parseZayaConfig({ model_type: 'zaya' })) };
    expect(scalars).toMatchObject({ num_hidden_layers: 80, ffn_hidden_size: 4096, zaya_mlp_expansion: 256 });
    expect(parseZayaConfig(scalars)).toEqual(parseZayaConfig({ model_type: 'zaya' }));
    const classStyle: Record<string, unknown> = { ...scalars, num_attention_heads: 16, cca_num_q_heads: 8 };
    delete classStyle.head_dim;
    expect(parseZayaConfig(classStyle)).toMatchObject({ num_attention_heads: 8, head_dim: 128 });
  });

  it('adds the query itself to the sliding window, and keeps both RoPE bases', () => {
    const legacy = { ...listConfig(2), swa_layers: [4096, 0, 0, 0], swa_rotary_base: 1e4 };
    const config = parseZayaConfig(legacy);
    expect(config).toMatchObject({
      sliding_window: 4097,
      layer_types: ['hybrid_sliding', 'hybrid'],
      rope_parameters: { hybrid: { rope_theta: 1e6 }, hybrid_sliding: { rope_theta: 1e4 } },
    });
    expect(parseZayaConfig(toLegacyConfig(config))).toEqual(config);
  });

  it.each<[string, unknown, string]>([
    ['zaya_layers', ['a', 16, 'a'], 'even number of half-layers'],
    ['zaya_layers', [], 'even number of half-layers'],
    ['zaya_layers', ['a', 16, 16, 'a'], 'zaya_layers[2]'],
    ['zaya_layers', ['a', 16, 'a', 8], 'one value in all MoE half-layers'],
    ['zaya_layers', ['a', 0, 'a', 0], 'num_experts: an integer from 1'],
    ['zaya_layers', ['a', {}, 'a', {}], 'zaya_layers'],
    ['cca_num_q_heads', [8, 0, 16, 0], 'one value in all attention half-layers, got [8, 16]'],
    ['ffn_hidden_size_list', [0, 4096], 'an entry for each of 4 half-layers, got 2'],
    ['ffn_hidden_size_list', [0, 4095, 0, 4095], 'even size'],
    ['num_query_groups_list', [4, 0, 4, 0], 'num_key_value_heads: 4, as num_query_groups says, got 2'],
    ['zaya_mlp_expansion', null, 'zaya_mlp_expansion'],
    ['rope_theta', undefined, 'rope_theta'],
    ['rope_scaling', { type: 'yarn' }, 'rope_scaling: false or null'],
    ['zaya_use_eda', false, 'zaya_use_eda: true, got false'],
    ['zaya_use_mod', false, 'zaya_use_mod'],
    ['scale_residual_merge', false, 'scale_residual_merge'],
    ['clamp_temp', true, 'clamp_temp: false, got true'],
    ['activation_func', 'gelu', 'activation_func'],
    ['moe_router_topk', 2, 'moe_router_topk: 1, got 2'],
    ['swa_layers', [4096, 0, 128, 0], 'one window'],
    ['swa_layers', [4096, 0], 'an entry for each of 4 half-layers'],
    ['swa_layers', [-1, 0, 0, 0], 'windows of at least 0'],
    ['kv_channels', 0, 'kv_channels: an integer from 1'],
    ['head_dim', 2.5, 'head_dim: an integer from 1'],
  ])('rejects %s = %j', (key, value, expected) => {
    const json = { ...listConfig(2), [key]: value };
    if (value === undefined) delete json[key];
    try {
      parseZayaConfig(json);
    } catch (error) {
      expect((error as ZayascopeError).code).toBe('BAD_CONFIG');
      expect((error as ZayascopeError).message).toContain(expected);
      return;
    }
    throw new Error('accepted');
  });

  it('rejects an odd scalar count of half-layers', () => {
    const json = { ...toLegacyConfig(SMALL), num_hidden_layers: 5 };
    expect(() => parseZayaConfig(json)).toThrow(/num_hidden_layers: an even number of half-layers/);
  });

  it('rejects heads that do not divide the hidden size where the head size is absent', () => {
    const json: Record<string, unknown> = { ...listConfig(2), num_attention_heads: 15 };
    delete json.kv_channels;
    expect(() => parseZayaConfig(json)).toThrow(/num_attention_heads: a divisor of hidden_size 2048, got 15/);
  });

  it('answers every one of 3000 seeded mutations with a valid config or BAD_CONFIG', () => {
    const random = seededIntegers(20260802);
    const values = [
      null,
      true,
      false,
      0,
      -1,
      1,
      2,
      0.5,
      1e12,
      2 ** 53,
      '',
      'a',
      [],
      ['a', 16],
      [8, 0, 8, 0],
      {},
      [{}, []],
    ];
    const keys = [
      ...Object.keys(listConfig(1)),
      'swa_layers',
      'head_dim',
      'num_query_groups',
      'ffn_hidden_size',
    ];
    keys.push('rope_parameters', 'layer_types', 'clamp_temp', 'activation_func', 'swa_rotary_base');
    let valid = 0;
    for (let round = 0; round < 3000; round++) {
      const json = listConfig(2);
      for (let change = random(3); change >= 0; change--) {
        const key = keys[random(keys.length)]!;
        const value = structuredClone(values[random(values.length)]);
        const list = json[key];
        if (random(4) === 0) delete json[key];
        else if (Array.isArray(list) && random(2) === 0) list[random(list.length + 1)] = value;
        else json[key] = value;
      }
      try {
        expect(parseZayaConfig(json).num_hidden_layers).toBeLessThanOrEqual(4096);
        valid++;
      } catch (error) {
        expect(error, JSON.stringify(json)).toMatchObject({ name: 'ZayascopeError', code: 'BAD_CONFIG' });
      }
    }
    expect(valid).toBeGreaterThan(100);
    expect(valid).toBeLessThan(2900);
  });
});
