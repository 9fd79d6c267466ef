import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import {
  convChannels,
  convGroups,
  convStateLength,
  kWidth,
  parseZayaConfig,
  queryGroups,
  qWidth,
  readZayaConfig,
  rotaryDim,
  routerClasses,
} from '../../src/models/zaya/config.js';
import { parseJsonObject } from '../../src/weights/json-object.js';
import { seededIntegers, temporaryFolder } from '../weights/fixtures.js';

const HYBRID = { rope_type: 'default', rope_theta: 1e6, partial_rotary_factor: 0.5 };

/** A config as transformers 5.18 saves it, small. */
const SMALL = {
  architectures: ['ZayaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0.0,
  bos_token_id: 2,
  cca_time0: 2,
  cca_time1: 2,
  dtype: 'bfloat16',
  eos_token_id: 106,
  head_dim: 8,
  hidden_act: 'silu',
  hidden_size: 32,
  initializer_range: 0.02,
  layer_types: ['hybrid', 'hybrid_sliding', 'hybrid'],
  lm_head_bias: false,
  max_position_embeddings: 128,
  model_type: 'zaya',
  moe_intermediate_size: 16,
  num_attention_heads: 6,
  num_experts: 3,
  num_experts_per_tok: 1,
  num_hidden_layers: 3,
  num_key_value_heads: 2,
  output_router_logits: false,
  pad_token_id: 0,
  rms_norm_eps: 1e-5,
  rope_parameters: { hybrid: HYBRID, hybrid_sliding: { rope_theta: 1e4, partial_rotary_factor: 0.75 } },
  router_hidden_size: 12,
  sliding_window: 5,
  tie_word_embeddings: true,
  use_cache: true,
  vocab_size: 67,
};

/** What the parser says to SMALL with some keys replaced (`undefined` removes a key). */
function rejection(changes: Record<string, unknown>): ZayascopeError {
  const json: Record<string, unknown> = { ...SMALL, ...changes };
  for (const [key, value] of Object.entries(changes)) if (value === undefined) delete json[key];
  try {
    parseZayaConfig(json, 'folder/config.json');
  } catch (error) {
    expect(error).toBeInstanceOf(ZayascopeError);
    expect((error as ZayascopeError).code).toBe('BAD_CONFIG');
    expect((error as ZayascopeError).message).toContain('folder/config.json');
    return error as ZayascopeError;
  }
  throw new Error(`accepted ${JSON.stringify(changes)}`);
}

describe('zaya config', () => {
  it('reads a config as transformers saves it, and drops keys that the model does not use', () => {
    const config = parseZayaConfig(SMALL);
    expect(config).toMatchObject({
      num_hidden_layers: 3,
      sliding_window: 5,
      hidden_size: 32,
      eos_token_id: 106,
    });
    expect(config.layer_types).toEqual(['hybrid', 'hybrid_sliding', 'hybrid']);
    expect(config.rope_parameters.hybrid_sliding).toEqual({
      rope_type: 'default',
      rope_theta: 1e4,
      partial_rotary_factor: 0.75,
    });
    expect(config).not.toHaveProperty('use_cache');
  });

  it("takes the reference's defaults for absent keys, which are the 8B", () => {
    const config = parseZayaConfig({ model_type: 'zaya' });
    expect(config.layer_types).toHaveLength(40);
    expect(config).toMatchObject({
      vocab_size: 262272,
      hidden_size: 2048,
      num_experts: 16,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
      sliding_window: null,
      rope_parameters: { hybrid: { rope_theta: 5e6, partial_rotary_factor: 0.5 } },
    });
    expect(config.rope_parameters.hybrid_sliding).toBeUndefined();
  });

  it('derives the sizes of the 8B', () => {
    const config = parseZayaConfig({ model_type: 'zaya' });
    expect([qWidth(config), kWidth(config), convChannels(config)]).toEqual([1024, 256, 1280]);
    expect([convGroups(config), queryGroups(config), routerClasses(config)]).toEqual([10, 4, 17]);
    expect([rotaryDim(config, 'hybrid'), convStateLength(config)]).toEqual([64, 2]);
  });

  it('tolerates the stray rope_type and other strays beside the nested RoPE parameters', () => {
    const rope = { hybrid: HYBRID, hybrid_sliding: HYBRID, rope_type: 'linear', rope_theta: 3 };
    expect(
      parseZayaConfig({ ...SMALL, rope_parameters: rope, rope_theta: 7 }).rope_parameters.hybrid,
    ).toEqual(HYBRID);
  });

  it('rotates the whole head when a nested entry names no factor, as the reference does', () => {
    const config = parseZayaConfig({
      ...SMALL,
      layer_types: null,
      rope_parameters: { hybrid: { rope_theta: 5 } },
    });
    expect(rotaryDim(config, 'hybrid')).toBe(8);
  });

  it('accepts a flat rope_theta only where it agrees with the value that transformers uses', () => {
    const flat = { rope_parameters: undefined, layer_types: undefined };
    expect(parseZayaConfig({ model_type: 'zaya', rope_theta: 5e6 }).rope_parameters.hybrid?.rope_theta).toBe(
      5e6,
    );
    expect(rejection({ ...flat, rope_theta: 1e6 }).message).toMatch(/rope_theta.*5000000.*got 1000000/);
    expect(rejection({ ...flat, partial_rotary_factor: 1 }).message).toContain('partial_rotary_factor');
    expect(rejection({ rope_parameters: HYBRID }).message).toContain('rope_parameters.hybrid');
  });

  it('accepts one key-value head, unit kernels, null and several special tokens', () => {
    const unusual = {
      num_key_value_heads: 1,
      cca_time0: 1,
      cca_time1: 1,
      pad_token_id: null,
      eos_token_id: [1, 2],
    };
    const config = parseZayaConfig({ ...SMALL, ...unusual });
    expect(config).toMatchObject(unusual);
    expect(convStateLength(config)).toBe(0);
  });

  const SIZES = [
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'num_key_value_heads',
  ];
  SIZES.push(
    'head_dim',
    'max_position_embeddings',
    'moe_intermediate_size',
    'num_experts',
    'router_hidden_size',
  );
  SIZES.push('cca_time0', 'cca_time1', 'sliding_window');
  it.each(SIZES)('rejects %s that is zero, negative, fractional, huge or no number', (key) => {
    for (const value of [0, -4, 2.5, 1e15, null, '8', true, [8], {}]) {
      const { message } = rejection({ [key]: value });
      expect(message).toMatch(new RegExp(`${key}: an integer from 1 to \\d+`));
    }
  });

  it('requires sliding_window when a block slides', () => {
    expect(rejection({ sliding_window: undefined }).message).toMatch(
      /sliding_window: an integer.*got nothing/,
    );
  });

  it.each([
    ['model_type', 'llama', '"zaya", got "llama"'],
    ['model_type', undefined, '"zaya", got nothing'],
    ['hidden_act', 'gelu', '"silu", got "gelu"'],
    ['num_experts_per_tok', 2, 'num_experts_per_tok: 1, got 2'],
    ['num_key_value_heads', 4, 'multiple of num_key_value_heads, got 6 and 4'],
    ['rms_norm_eps', 0, 'rms_norm_eps: a finite number above zero, got 0'],
    ['rms_norm_eps', -1e-5, 'rms_norm_eps'],
    ['rms_norm_eps', '1e-5', 'rms_norm_eps'],
    ['tie_word_embeddings', null, 'tie_word_embeddings: true or false, got null'],
    ['attention_bias', 1, 'attention_bias: true or false, got 1'],
    ['lm_head_bias', 'no', 'lm_head_bias: true or false'],
    ['layer_types', ['hybrid'], 'layer_types: 3 entries'],
    ['layer_types', ['hybrid', 'attention', 'hybrid'], 'layer_types[1]'],
    ['layer_types', 'hybrid', 'layer_types: a list, got "hybrid"'],
    ['rope_parameters', {}, 'rope_parameters.hybrid'],
    ['rope_parameters', { hybrid: HYBRID }, 'rope_parameters.hybrid_sliding'],
    ['rope_parameters', { hybrid: null, hybrid_sliding: HYBRID }, 'rope_parameters.hybrid'],
    ['rope_parameters', 5e6, 'rope_parameters: an object, got 5000000'],
    ['rope_scaling', { type: 'linear', factor: 2 }, 'rope_scaling'],
    ['rope_scaling', false, 'rope_scaling'],
    ['eos_token_id', 'end', 'eos_token_id'],
    ['eos_token_id', [1, 2.5], 'eos_token_id'],
    ['pad_token_id', 1.5, 'pad_token_id'],
  ])('rejects %s = %j', (key, value, expected) => {
    expect(rejection({ [key]: value }).message).toContain(expected);
  });

  it('rejects a rotated part that is odd, empty or wider than the head', () => {
    const withFactor = (partial_rotary_factor: number) =>
      rejection({
        rope_parameters: { hybrid: { ...HYBRID, partial_rotary_factor }, hybrid_sliding: HYBRID },
      });
    expect(withFactor(0.7).message).toMatch(
      /even number of the head's 8 dimensions, got 0.7, which rotates 5/,
    );
    expect(withFactor(0.1).message).toContain('which rotates 0');
    expect(withFactor(2).message).toContain('which rotates 16');
  });

  it('names the supported RoPE kinds when it rejects another', () => {
    const yarn = { hybrid: { ...HYBRID, rope_type: 'yarn' }, hybrid_sliding: HYBRID };
    expect(rejection({ rope_parameters: yarn }).message).toContain(
      'rope_parameters.hybrid.rope_type: "default", got "yarn"',
    );
    const old = { hybrid: { type: 'linear', rope_theta: 1 }, hybrid_sliding: HYBRID };
    expect(rejection({ rope_parameters: old }).message).toContain('rope_parameters.hybrid.type');
  });

  it('rejects values that cannot be split in two halves', () => {
    const odd = { head_dim: 9, num_key_value_heads: 1, num_attention_heads: 3 };
    expect(rejection(odd).message).toMatch(/even num_key_value_heads \* head_dim.*got 1 \* 9/);
  });

  it('rejects heads whose product is absurd', () => {
    expect(rejection({ num_attention_heads: 65536, head_dim: 65536 }).message).toContain('of at most');
  });

  it('reports an unreadable or malformed config.json', async () => {
    const folder = await temporaryFolder();
    await expect(readZayaConfig(folder)).rejects.toMatchObject({ code: 'IO' });
    for (const text of [
      '',
      '[]',
      'null',
      '{"a":1,"a":2}',
      '{',
      '\ufeff{}',
      '{"vocab_size": NaN}',
      '['.repeat(1e6),
    ]) {
      await writeFile(join(folder, 'config.json'), text);
      await expect(readZayaConfig(folder), text.slice(0, 20)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    }
    await writeFile(join(folder, 'config.json'), Uint8Array.of(0x7b, 0xff, 0x7d));
    await expect(readZayaConfig(folder)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    await mkdir(join(folder, 'model', 'config.json'), { recursive: true });
    await expect(readZayaConfig(join(folder, 'model'))).rejects.toMatchObject({ code: 'IO' });
  });

  it('answers every one of 3000 seeded mutations with a valid config or BAD_CONFIG', () => {
    const random = seededIntegers(20260801);
    const values = [
      null,
      true,
      0,
      -1,
      1,
      2,
      3,
      0.5,
      1e9,
      1e308,
      -1e308,
      2 ** 53,
      '',
      'hybrid',
      'silu',
      [],
      [1],
      {},
      [[]],
    ];
    const keys = [
      ...Object.keys(SMALL),
      'rope_theta',
      'rope_scaling',
      '__proto__',
      'zaya_layers',
      'ffn_hidden_size',
    ];
    let valid = 0;
    for (let round = 0; round < 3000; round++) {
      const json = structuredClone(SMALL) as Record<string, unknown>;
      for (let change = random(3); change >= 0; change--) {
        const key = keys[random(keys.length)]!;
        const target = random(5) === 0 ? (json.rope_parameters as Record<string, unknown> | undefined) : json;
        if (random(4) === 0) delete json[key];
        else if (typeof target === 'object' && target !== null)
          Object.defineProperty(target, key, {
            value: structuredClone(values[random(values.length)]),
            enumerable: true,
            configurable: true,
            writable: true,
          });
      }
      try {
        const config = parseZayaConfig(json);
        valid++;
        expect(convChannels(config)).toBeLessThanOrEqual(2 ** 24);
        expect(config.layer_types).toHaveLength(config.num_hidden_layers);
      } catch (error) {
        expect(error, JSON.stringify(json)).toMatchObject({ name: 'ZayascopeError', code: 'BAD_CONFIG' });
      }
    }
    expect(valid).toBeGreaterThan(100);
    expect(valid).toBeLessThan(2900);
  });

  it('answers every one of 2000 seeded changes of the bytes with a valid config or BAD_CONFIG', () => {
    const random = seededIntegers(20260804);
    const original = new TextEncoder().encode(JSON.stringify(SMALL));
    let valid = 0;
    for (let round = 0; round < 2000; round++) {
      let bytes = original.slice();
      for (let change = random(3); change >= 0; change--) {
        const at = random(bytes.length);
        const byte = random(2) ? random(256) : '0123456789{}[]",:-.e\\'.charCodeAt(random(21));
        const kind = random(5);
        if (kind < 3) bytes[at] = byte;
        else
          bytes = Uint8Array.of(
            ...bytes.subarray(0, at),
            ...(kind === 3 ? [byte] : []),
            ...bytes.subarray(at + 1),
          );
      }
      try {
        const source = { code: 'BAD_CONFIG', op: 'test', where: 'config.json' } as const;
        parseZayaConfig(parseJsonObject(bytes, source));
        valid++;
      } catch (error) {
        const text = Buffer.from(bytes).toString('latin1');
        expect(error, text).toMatchObject({ name: 'ZayascopeError', code: 'BAD_CONFIG' });
      }
    }
    expect(valid).toBeGreaterThan(20);
    expect(valid).toBeLessThan(1900);
  });
});
