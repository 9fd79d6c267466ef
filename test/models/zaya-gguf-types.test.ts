import { describe, expect, it } from 'vitest';
import { type Dtype, sizeBytes } from '../../src/dtype.js';
import { GGUF_TYPES, type GgufType } from '../../src/models/gguf/types.js';
import { parseZayaConfig } from '../../src/models/zaya/config.js';
import { planGguf } from '../../src/models/zaya/gguf-plan.js';
import { SMALL_CONFIG } from './random-model.js';

const EIGHT_B = parseZayaConfig({ model_type: 'zaya', vocab_size: 262_147 });

function dtypes(type: GgufType, config = EIGHT_B): Map<string, Dtype> {
  return new Map(planGguf(config, type, 'x', undefined).tensors.map(({ name, dtype }) => [name, dtype]));
}

const blocksWith = (all: ReadonlyMap<string, Dtype>, suffix: string, dtype: Dtype) =>
  [...all]
    .filter(([name, each]) => name.endsWith(suffix) && each === dtype)
    .map(([name]) => name.split('.')[1]);

describe('dtypes of a GGUF file', () => {
  it('gives q4_k_m of the 8B more bits for half of the experts and for the head', () => {
    const all = dtypes('q4_k_m');
    expect(blocksWith(all, 'ffn_down_exps.weight', 'Q6_K').join(' ')).toBe(
      '1 3 5 7 9 15 21 27 33 39 45 51 57 63 69 71 73 75 77 79',
    );
    expect(blocksWith(all, 'ffn_down_exps.weight', 'Q4_K')).toHaveLength(20);
    expect(blocksWith(all, 'ffn_gate_up_exps.weight', 'Q4_K')).toHaveLength(40);
    expect(all.get('token_embd.weight')).toBe('Q6_K');
    // Blocks 0 to 4, 35 to 39, and 7, 10, ... 34: their half-layers.
    const values = '0 2 4 6 8 14 20 26 32 38 44 50 56 62 68 70 72 74 76 78';
    expect(blocksWith(all, 'cca_val_proj1.weight', 'Q6_K').join(' ')).toBe(values);
    expect(blocksWith(all, 'cca_val_proj2.weight', 'Q6_K').join(' ')).toBe(values);
    expect(blocksWith(all, 'attn_q.weight', 'Q4_K')).toHaveLength(40);
  });

  it('makes a q4_k_m of the 8B as large as the published one, give or take its router', () => {
    const { tensors } = planGguf(EIGHT_B, 'q4_k_m', 'x', undefined);
    const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
    const bytes = tensors.reduce((sum, { dtype, shape }) => sum + sizeBytes(dtype, count(shape)), 0);
    expect(tensors.reduce((sum, { shape }) => sum + count(shape), 0)).toBe(8_840_233_464);
    expect(Math.abs(bytes / 5_567_581_549 - 1)).toBeLessThan(0.01);
  });

  it.each(GGUF_TYPES)('never quantises router, convolutions and vectors in %s', (type) => {
    for (const [name, dtype] of dtypes(type)) {
      if (/ffn_gate_inp|ffn_gate\.|zaya_router|ssm_conv1d|_norm|res_scale|cca_k_scale|\.bias$/.test(name))
        expect([name, dtype]).toEqual([name, 'F32']);
      if (name.endsWith('cca_conv_grp.weight'))
        expect(dtype).toBe(type === 'f32' ? 'F32' : type === 'f16' ? 'F16' : 'BF16');
    }
  });

  it.each([
    ['f32', 'F32', 'F32'],
    ['f16', 'F16', 'F16'],
    ['bf16', 'BF16', 'BF16'],
    ['q8_0', 'Q8_0', 'Q8_0'],
    ['q6_k', 'Q6_K', 'Q6_K'],
    ['q5_k_m', 'Q5_K', 'Q6_K'],
    ['q4_0', 'Q4_0', 'Q6_K'],
  ] as const)('%s stores matrices in %s and the tied head in %s', (type, matrix, head) => {
    const all = dtypes(type);
    expect(all.get('blk.0.attn_q.weight')).toBe(matrix);
    expect(all.get('blk.1.ffn_gate_up_exps.weight')).toBe(matrix);
    expect(all.get('token_embd.weight')).toBe(head);
  });

  it('gives an untied head the extra bits, and the embedding the type', () => {
    const all = dtypes('q4_k_m', { ...EIGHT_B, tie_word_embeddings: false });
    expect(all.get('output.weight')).toBe('Q6_K');
    expect(all.get('token_embd.weight')).toBe('Q4_K');
  });

  it('falls back to 32-blocks and to F16 where rows do not fit, and says so', () => {
    const config = parseZayaConfig({
      ...SMALL_CONFIG,
      hidden_size: 96,
      moe_intermediate_size: 40,
      num_hidden_layers: 8,
    });
    const { tensors, fallbacks } = planGguf(config, 'q4_k_m', 'x', undefined);
    const dtype = (name: string) => tensors.find((each) => each.name === name)!.dtype;
    expect(dtype('blk.0.attn_q.weight')).toBe('Q5_0');
    expect(dtype('token_embd.weight')).toBe('Q8_0');
    expect(dtype('blk.1.ffn_down_exps.weight')).toBe('F16');
    expect(fallbacks).toContainEqual({
      tensor: 'blk.0.attn_q.weight',
      columns: 96,
      wanted: 'Q4_K',
      used: 'Q5_0',
    });
    expect(fallbacks).toContainEqual({
      tensor: 'token_embd.weight',
      columns: 96,
      wanted: 'Q6_K',
      used: 'Q8_0',
    });
    expect(fallbacks).toContainEqual({
      tensor: 'blk.1.ffn_down_exps.weight',
      columns: 40,
      wanted: 'Q6_K',
      used: 'F16',
    });
    expect(planGguf(config, 'q5_k_m', 'x', undefined).fallbacks).toContainEqual({
      tensor: 'blk.0.attn_q.weight',
      columns: 96,
      wanted: 'Q5_K',
      used: 'Q5_1',
    });
    expect(planGguf(EIGHT_B, 'q4_k_m', 'x', undefined).fallbacks).toEqual([]);
  });

  it('rejects sliding windows, which the dialect cannot say', () => {
    const sliding = parseZayaConfig({
      model_type: 'zaya',
      num_hidden_layers: 2,
      layer_types: ['hybrid_sliding', 'hybrid'],
      sliding_window: 8,
    });
    expect(() => planGguf(sliding, 'q8_0', 'x', undefined)).toThrow(/hybrid_sliding/);
  });
});
