import { describe, expect, it } from 'vitest';
import { parseQwen3Config } from '../../src/models/qwen3/config.js';
import { pythonJson } from '../reference/python.js';

const small = { num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2 };
const dense = { model_type: 'qwen3', ...small };
const moe = { model_type: 'qwen3_moe', ...small, head_dim: 16, num_experts: 8, num_experts_per_tok: 2 };
const theta = (rope_theta: number) => ({ rope_type: 'default', rope_theta });

/** Configurations that are honoured: every field must be what transformers makes of them. */
const HONOURED: Record<string, Record<string, unknown>> = {
  'dense, nothing given': { model_type: 'qwen3' },
  'moe, nothing given but the width of heads': { model_type: 'qwen3_moe', head_dim: 128 },
  'a window on the last blocks': {
    ...dense,
    use_sliding_window: true,
    max_window_layers: 1,
    sliding_window: 5,
  },
  'a window of the default width from the default block on': { ...dense, use_sliding_window: true },
  'a default window and block': { ...dense, num_hidden_layers: 30, use_sliding_window: true },
  'a window that is null': { ...dense, use_sliding_window: true, sliding_window: null, max_window_layers: 0 },
  'a window that is off': { ...dense, sliding_window: 5, max_window_layers: 0 },
  'types of blocks': {
    ...dense,
    use_sliding_window: true,
    layer_types: ['sliding_attention', 'full_attention', 'full_attention', 'sliding_attention'],
  },
  'a window on every block of a moe': { ...moe, use_sliding_window: true, sliding_window: 3 },
  'dense blocks among experts': { ...moe, mlp_only_layers: [0], decoder_sparse_step: 2 },
  'experts under the other name': { ...moe, num_experts: undefined, num_local_experts: 8 },
  'a flat base': { ...dense, rope_theta: 1e6 },
  'rope parameters': { ...dense, rope_parameters: theta(5e5) },
  'the older key, which goes first': { ...dense, rope_scaling: theta(7e5), rope_parameters: theta(5e5) },
  'an older key without anything': { ...dense, rope_scaling: {}, rope_parameters: theta(5e5) },
  'attention with biases, weights of experts that are not made 1': {
    ...moe,
    attention_bias: true,
    norm_topk_prob: false,
    tie_word_embeddings: true,
  },
};

/** What transformers has and no model here does: refused by the key. */
const REFUSED: [string, Record<string, unknown>, RegExp][] = [
  ['yarn', { ...dense, rope_scaling: { rope_type: 'yarn', factor: 4 } }, /rope_scaling\.rope_type/],
  ['linear scaling', { ...dense, rope_scaling: { type: 'linear', factor: 2 } }, /rope_scaling\.type/],
  ['llama3', { ...dense, rope_parameters: { rope_type: 'llama3' } }, /rope_parameters\.rope_type/],
  [
    'yarn in the older key beside a default in the newer',
    { ...dense, rope_scaling: { rope_type: 'yarn' }, rope_parameters: theta(1e4) },
    /rope_scaling\.rope_type/,
  ],
  [
    'rope parameters for each type of block',
    { ...dense, rope_parameters: { full_attention: theta(1e4) } },
    /rope_parameters\.full_attention/,
  ],
  ['another activation', { ...dense, hidden_act: 'gelu' }, /hidden_act: "silu"/],
  [
    'a block that slides though windows are off',
    { ...dense, layer_types: ['sliding_attention', 'full_attention', 'full_attention', 'full_attention'] },
    /layer_types: 'full_attention' where use_sliding_window is off/,
  ],
  [
    'blocks of a moe that do not slide, which transformers passes over',
    { ...moe, use_sliding_window: true, layer_types: Array(4).fill('full_attention') },
    /layer_types: 'sliding_attention' where use_sliding_window is on/,
  ],
  ['too few types of blocks', { ...dense, layer_types: ['full_attention'] }, /layer_types: 4 entries/],
  ['a block that is no number', { ...moe, mlp_only_layers: ['0'] }, /mlp_only_layers: block numbers/],
  [
    'a window from no block',
    { ...dense, use_sliding_window: true, max_window_layers: -1 },
    /max_window_layers/,
  ],
  ['no experts', { ...moe, num_experts: 0 }, /num_experts: an integer from 1/],
  ['more experts a token than there are', { ...moe, num_experts_per_tok: 9 }, /num_experts_per_tok/],
  ['odd heads', { ...dense, head_dim: 15 }, /an even head_dim/],
  ['quantised weights', { ...dense, quantization_config: { quant_method: 'fp8' } }, /quantization_config/],
  [
    'a model of several parts',
    { ...dense, text_config: {}, vision_config: {} },
    /text_config beside vision_config/,
  ],
  ['weights in 8 bits', { ...dense, torch_dtype: 'float8_e4m3fn' }, /torch_dtype/],
];

describe('parseQwen3Config', () => {
  it('makes of a config what transformers makes of it', () => {
    const theirs = pythonJson<Record<string, unknown>[]>(
      ['test/models/qwen3_config.py'],
      JSON.stringify(Object.values(HONOURED)),
    );
    for (const [index, [name, json]] of Object.entries(HONOURED).entries()) {
      const own = parseQwen3Config(JSON.parse(JSON.stringify(json)));
      const expected = theirs[index]!;
      const shown = Object.fromEntries(
        Object.keys(expected).map((key) => [key, own[key as keyof typeof own]]),
      );
      expect([name, shown]).toEqual([name, expected]);
    }
  });

  it.each(REFUSED)('refuses by name: %s', (_, json, message) => {
    expect(() => parseQwen3Config(json)).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringMatching(message) }),
    );
  });
});
