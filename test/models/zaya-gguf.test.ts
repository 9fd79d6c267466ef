import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { ggmlType, sizeBytes } from '../../src/dtype.js';
import { ZayascopeError } from '../../src/errors.js';
import { checkWeights, requiredTensors } from '../../src/models/runtime/weights.js';
import { parseZayaConfig, rotaryDim, type ZayaConfig } from '../../src/models/zaya/config.js';
import { openZayaGguf } from '../../src/models/zaya/gguf.js';
import { type GgufDialect, ggufNames } from '../../src/models/zaya/gguf-names.js';
import type { GgufScalar, GgufValue } from '../../src/native.js';
import type { GgufHeader } from '../../src/weights/formats/gguf-header.js';
import { ggufCheckpoint } from '../../src/weights/gguf.js';
import { readTensor } from '../../src/weights/tensor-data.js';
import { seededIntegers, temporaryFolder } from '../weights/fixtures.js';

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
  rope_parameters: { hybrid: { rope_theta: 1e6, partial_rotary_factor: 0.5 } },
});
const FILE = 'model.gguf';

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value: Math.fround(value) });
const list = (itemType: string, value: GgufScalar[]): GgufValue => ({ type: 'arr', itemType, value });

/**
 * The header that a dialect's converter writes for a config: names and keys of zaya-architecture.md B.2 and
 * B.3, in BF16.
 */
function header(config: ZayaConfig, dialect: GgufDialect): GgufHeader {
  const names = ggufNames(config, dialect);
  let offsetBytes = 0;
  const tensors = requiredTensors(config).map(({ name, shape, role }) => {
    const isVector = role === 'vector' || role === 'buffer';
    const dtype = isVector ? 'F32' : 'BF16';
    const stored = name.endsWith('conv_qk_depthwise.weight') ? [shape[0]!, shape[2]!] : [...shape];
    if (dialect === 'blocks' && name.endsWith('conv_qk_grouped.weight')) stored.unshift(stored.pop()!);
    const size = sizeBytes(
      dtype,
      shape.reduce((a, b) => a * b, 1),
    );
    const tensor = {
      name: names.get(name)![0]!,
      type: ggmlType(dtype),
      ne: stored.reverse(),
      offsetBytes,
      sizeBytes: size,
    };
    offsetBytes += Math.ceil(size / 32) * 32;
    return tensor;
  });
  const { hybrid } = config.rope_parameters;
  const metadata: Record<string, GgufValue> = {
    'general.architecture': { type: 'str', value: 'zaya' },
    'zaya.block_count': u32(config.num_hidden_layers * (dialect === 'blocks' ? 1 : 2)),
    'zaya.context_length': u32(config.max_position_embeddings),
    'zaya.embedding_length': u32(config.hidden_size),
    'zaya.feed_forward_length': u32(config.moe_intermediate_size),
    'zaya.attention.head_count': u32(config.num_attention_heads),
    'zaya.attention.head_count_kv': u32(config.num_key_value_heads),
    'zaya.attention.key_length': u32(config.head_dim),
    'zaya.attention.value_length': u32(config.head_dim),
    'zaya.attention.layer_norm_rms_epsilon': f32(config.rms_norm_eps),
    'zaya.rope.dimension_count': u32(rotaryDim(config, 'hybrid')),
    'zaya.rope.freq_base': f32(hybrid!.rope_theta),
    'zaya.expert_count': u32(config.num_experts),
    'zaya.expert_used_count': u32(1),
    'zaya.expert_feed_forward_length': u32(config.router_hidden_size),
    'zaya.ssm.conv_kernel': u32(config.cca_time0),
    'tokenizer.ggml.bos_token_id': u32(2),
    'tokenizer.ggml.eos_token_id': u32(106),
    'tokenizer.ggml.padding_token_id': u32(0),
  };
  return { version: 3, alignment: 32, dataOffsetBytes: 4096, metadata, tensors };
}

function open(gguf: GgufHeader) {
  return openZayaGguf(gguf, ggufCheckpoint(gguf, FILE, 2 ** 40), FILE);
}

function rejection(gguf: GgufHeader): ZayascopeError {
  try {
    open(gguf);
  } catch (error) {
    if (error instanceof ZayascopeError) return error;
    throw error;
  }
  throw new Error('accepted');
}

const DIALECTS = ['half-layers', 'blocks'] as const;

describe.each(DIALECTS)('GGUF dialect %s', (dialect) => {
  it('gives the config and every tensor in the native layout', () => {
    const { dialect: found, config, checkpoint } = open(header(SMALL, dialect));
    expect(found).toBe(dialect);
    expect(config).toEqual(SMALL);
    const checked = checkWeights(checkpoint, config);
    expect(checked.tensors).toHaveLength(requiredTensors(SMALL).length);
    expect(checked.unexpected).toEqual([]);
  });

  it('covers biases, an untied head and a trimmed vocabulary', () => {
    const config = {
      ...SMALL,
      attention_bias: true,
      lm_head_bias: true,
      tie_word_embeddings: false,
      vocab_size: 17,
    };
    const gguf = header(config, dialect);
    gguf.metadata['zaya.vocab_size'] = u32(19);
    expect(open(gguf).config).toEqual(config);
  });

  it('covers single heads, experts and kernels, whose axes GGUF drops', () => {
    const config = { ...SMALL, num_experts: 1, num_attention_heads: 1, cca_time0: 1, cca_time1: 1 };
    const { config: found, checkpoint } = open(header(config, dialect));
    expect(found).toEqual(config);
    expect(checkWeights(checkpoint, found).unexpected).toEqual([]);
  });

  it('keeps the exact number of rotated dimensions where the quotient rounds down', () => {
    const rounded = [];
    for (let head = 2; head <= 256; head += 2)
      for (let rotary = 2; rotary <= head; rotary += 2)
        if (Math.trunc(head * (rotary / head)) !== rotary) rounded.push({ head, rotary });
    expect(rounded.length).toBeGreaterThan(10);
    for (const { head, rotary } of [...rounded, { head: 128, rotary: 64 }]) {
      const rope_parameters = {
        hybrid: { rope_type: 'default', rope_theta: 10_000, partial_rotary_factor: 1 },
      } as const;
      const gguf = header({ ...SMALL, head_dim: head, rope_parameters }, dialect);
      gguf.metadata['zaya.rope.dimension_count'] = u32(rotary);
      expect(rotaryDim(open(gguf).config, 'hybrid')).toBe(rotary);
    }
  });

  it('accepts quantised matmul weights, and names types that it does not know', () => {
    const wide = { ...SMALL, hidden_size: 32, moe_intermediate_size: 32 };
    const gguf = header(wide, dialect);
    const experts = gguf.tensors.find(({ name }) => name.endsWith('ffn_down_exps.weight'))!;
    experts.type = ggmlType('Q8_0');
    experts.sizeBytes = sizeBytes('Q8_0', 3 * 32 * 32);
    const { config, checkpoint } = open(gguf);
    const { tensors } = checkWeights(checkpoint, config);
    expect(tensors.find(({ info }) => info.dtype === 'Q8_0')?.name).toBe(
      'model.layers.0.mlp.experts.down_proj',
    );
    experts.type = 999;
    const unknown = open(gguf);
    expect(() => checkWeights(unknown.checkpoint, config)).toThrow(/got type 999/);
  });

  it('names what is missing, and keeps what it does not know', () => {
    const gguf = header(SMALL, dialect);
    const lost = gguf.tensors.findIndex(({ name }) => name.endsWith('.zaya_router_eda.weight'));
    const [eda] = gguf.tensors.splice(lost, 1);
    expect(rejection(gguf)).toMatchObject({ code: 'MISSING_TENSOR', tensor: eda!.name });
    gguf.tensors.push(eda!, { ...eda!, name: 'extra', offsetBytes: 2 ** 20 });
    const { checkpoint, config } = open(gguf);
    expect(checkWeights(checkpoint, config).unexpected).toEqual(['extra']);
  });

  it.each([
    ['zaya.embedding_length', 'zaya.embedding_length: an integer'],
    ['zaya.rope.freq_base', 'zaya.rope.freq_base: a finite number'],
    ['zaya.expert_count', 'zaya.expert_count'],
    ['zaya.block_count', 'zaya.block_count'],
  ])('rejects a header without %s', (key, message) => {
    const gguf = header(SMALL, dialect);
    delete gguf.metadata[key];
    const error = rejection(gguf);
    expect(error.code).toBe('BAD_CONFIG');
    expect(error.message).toContain(message);
  });

  it('rejects other top-k, unequal value sizes, and a wrong expert shape', () => {
    const topK = header(SMALL, dialect);
    topK.metadata['zaya.expert_used_count'] = u32(2);
    expect(rejection(topK)).toMatchObject({ code: 'BAD_CONFIG' });
    const values = header(SMALL, dialect);
    values.metadata['zaya.attention.value_length'] = u32(8);
    expect(rejection(values)).toMatchObject({ code: 'BAD_CONFIG' });
    const shape = header(SMALL, dialect);
    shape.tensors.find(({ name }) => name.endsWith('ffn_gate_up_exps.weight'))!.ne = [8, 6, 6];
    const { checkpoint, config } = open(shape);
    expect(() => checkWeights(checkpoint, config)).toThrow(
      expect.objectContaining({
        code: 'BAD_CHECKPOINT',
        shapes: [
          [3, 12, 8],
          [6, 6, 8],
        ],
      }),
    );
  });

  it('answers every one of 2000 seeded mutations with a model or an error of the library', () => {
    const random = seededIntegers(20260803);
    const values: GgufScalar[] = [
      0,
      1,
      2,
      3,
      -1,
      0.5,
      2 ** 31,
      2 ** 53,
      2n ** 60n,
      true,
      '',
      'zaya',
      Number.NaN,
    ];
    const numbers = [0, 1, 2, 8, -1, 0.5, 32, 2 ** 40, 2 ** 53, Number.NaN];
    let valid = 0;
    for (let round = 0; round < 2000; round++) {
      const gguf = header(SMALL, dialect);
      const keys = Object.keys(gguf.metadata);
      for (let change = random(2); change >= 0; change--) {
        const tensor = gguf.tensors[random(gguf.tensors.length)]!;
        const number = numbers[random(numbers.length)]!;
        const value = values[random(values.length)]!;
        const key = keys[random(keys.length)]!;
        switch (random(8)) {
          case 0:
            gguf.metadata[key] = { type: 'f32', value };
            break;
          case 1:
            gguf.metadata[key] = list('u32', [value, 0, value]);
            break;
          case 2:
            tensor.ne[random(3)] = number;
            break;
          case 3:
            tensor.offsetBytes = number;
            break;
          case 4:
            tensor.sizeBytes = number;
            break;
          case 5:
            tensor.type = random(40);
            break;
          case 6:
            tensor.name = gguf.tensors[random(gguf.tensors.length)]!.name;
            break;
          case 7:
            gguf.metadata['zaya.attention.sliding_window_pattern'] = list(
              'bool',
              [true, false, value].slice(random(2)),
            );
        }
      }
      try {
        const { checkpoint, config } = open(gguf);
        checkWeights(checkpoint, config);
        valid++;
      } catch (error) {
        expect(error, (error as Error).stack).toBeInstanceOf(ZayascopeError);
        expect(['BAD_CHECKPOINT', 'BAD_CONFIG', 'MISSING_TENSOR']).toContain((error as ZayascopeError).code);
      }
    }
    expect(valid).toBeGreaterThan(20);
    expect(valid).toBeLessThan(1500);
  });
});

describe('GGUF', () => {
  it('has the names of the public files', () => {
    const half = ggufNames(SMALL, 'half-layers');
    const blocks = ggufNames(SMALL, 'blocks');
    const expected: Record<string, [string, string]> = {
      'model.embed_tokens.weight': ['token_embd.weight', 'token_embd.weight'],
      'model.norm.weight': ['output_norm.weight', 'output_norm.weight'],
      'model.input_hidden_states_bias': ['blk.0.res_scale_hs.bias', 'input_hidden_states_scale.bias'],
      'model.layers.1.input_layernorm.weight': ['blk.2.attn_norm.weight', 'blk.1.attn_norm.weight'],
      'model.layers.1.post_attention_layernorm.weight': [
        'blk.3.attn_norm.weight',
        'blk.1.post_attention_norm.weight',
      ],
      'model.layers.1.self_attn.o_proj.weight': ['blk.2.attn_output.weight', 'blk.1.attn_output.weight'],
      'model.layers.1.self_attn.qk_norm.temp': ['blk.2.cca_k_scale.weight', 'blk.1.cca_k_scale.weight'],
      'model.layers.1.self_attn.qkv_proj.conv_qk_depthwise.bias': [
        'blk.2.ssm_conv1d.bias',
        'blk.1.ssm_conv1d.bias',
      ],
      'model.layers.1.mlp.gate.down_proj.bias': ['blk.3.ffn_gate_inp.bias', 'blk.1.ffn_gate_inp.bias'],
      'model.layers.1.mlp.gate.router_states_scale': [
        'blk.3.zaya_router_eda.weight',
        'blk.1.zaya_router_eda.weight',
      ],
      'model.layers.1.mlp.gate.router_mlp.norm.weight': ['blk.3.ffn_norm.weight', 'blk.1.ffn_norm.weight'],
      'model.layers.1.mlp.experts.gate_up_proj': [
        'blk.3.ffn_gate_up_exps.weight',
        'blk.1.ffn_gate_up_exps.weight',
      ],
      'model.layers.1.post_attention_residual_scale.residual_bias': [
        'blk.3.res_scale_res.bias',
        'blk.1.res_scale_res.bias',
      ],
      'model.layers.1.post_mlp_residual_scale.hidden_states_scale': [
        'blk.4.res_scale_hs.weight',
        'blk.1.res_scale_hs.mlp.weight',
      ],
      'model.layers.2.post_mlp_residual_scale.residual_scale': [
        'res_scale_res.weight',
        'blk.2.res_scale_res.mlp.weight',
      ],
    };
    for (const [native, [inHalf, inBlocks]] of Object.entries(expected)) {
      expect(half.get(native)![0]).toBe(inHalf);
      expect(blocks.get(native)![0]).toBe(inBlocks);
    }
    for (const names of [half, blocks]) {
      const first = [...names.values()].map(([name]) => name);
      expect(new Set(first).size).toBe(first.length);
      expect(first.join()).not.toContain('undefined');
    }
  });

  it('reads sliding windows and the second RoPE base of the blocks dialect', () => {
    const sliding = parseZayaConfig({
      ...SMALL,
      layer_types: ['hybrid_sliding', 'hybrid', 'hybrid_sliding'],
      sliding_window: 7,
      rope_parameters: {
        hybrid: SMALL.rope_parameters.hybrid,
        hybrid_sliding: { rope_theta: 1e4, partial_rotary_factor: 0.5 },
      },
    });
    const gguf = header(sliding, 'blocks');
    gguf.metadata['zaya.attention.sliding_window'] = u32(7);
    gguf.metadata['zaya.attention.sliding_window_pattern'] = list('bool', [true, false, true]);
    gguf.metadata['zaya.rope.freq_base_swa'] = f32(1e4);
    expect(open(gguf).config).toEqual(sliding);
    gguf.metadata['zaya.attention.sliding_window_pattern'] = list('bool', [true, false]);
    expect(rejection(gguf).message).toContain('sliding_window_pattern: 3 entries');
  });

  it('reads counts that are listed per block', () => {
    const gguf = header(SMALL, 'half-layers');
    gguf.metadata['zaya.attention.head_count_kv'] = list('u32', [1, 0, 1, 0, 1, 0]);
    expect(open(gguf).config.num_key_value_heads).toBe(1);
    gguf.metadata['zaya.attention.head_count_kv'] = list('u32', [1, 0, 3, 0, 1, 0]);
    expect(rejection(gguf)).toMatchObject({ code: 'BAD_CONFIG' });
  });

  it('accepts the spellings of forks', () => {
    const gguf = header(SMALL, 'blocks');
    for (const tensor of gguf.tensors)
      tensor.name = tensor.name.replace('post_attention_norm', 'post_attn_norm').replace('.mlp.', '_mlp.');
    expect(open(gguf).config).toEqual(SMALL);
  });

  it('reads the tap-major grouped convolution in the native order', async () => {
    const folder = await temporaryFolder();
    const gguf = header(SMALL, 'blocks');
    const { checkpoint } = open(gguf);
    const name = 'model.layers.0.self_attn.qkv_proj.conv_qk_grouped.weight';
    const info = checkpoint.tensors.get(name)!;
    expect(info).toMatchObject({ shape: [16, 4, 2], storedAxes: [2, 0, 1] });
    // Element (channel, input, tap) lies at ((tap * 16) + channel) * 4 + input and holds that number.
    const file = `${folder}/data`;
    await writeFile(file, new Uint8Array(Uint16Array.from({ length: 128 }, (_, index) => index).buffer));
    const local = { ...info, file, offsetBytes: 0, parts: [{ file, offsetBytes: 0, sizeBytes: 256 }] };
    const values = new Uint16Array((await readTensor(local)).buffer);
    for (let channel = 0; channel < 16; channel++)
      for (let input = 0; input < 4; input++)
        for (let tap = 0; tap < 2; tap++)
          expect(values[(channel * 4 + input) * 2 + tap]).toBe((tap * 16 + channel) * 4 + input);
    await expect(readTensor(local, 0, 8)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('rejects a tap-major convolution whose blocks cannot be taken apart', () => {
    const config = { ...SMALL, head_dim: 32 };
    const gguf = header(config, 'blocks');
    const grouped = gguf.tensors.find(({ name }) => name === 'blk.0.cca_conv_grp.weight')!;
    grouped.type = ggmlType('Q8_0');
    grouped.sizeBytes = sizeBytes('Q8_0', 128 * 32 * 2);
    expect(rejection(gguf)).toMatchObject({ code: 'BAD_CHECKPOINT' });
  });

  it('rejects other architectures and files of neither dialect', () => {
    const llama = header(SMALL, 'blocks');
    llama.metadata['general.architecture'] = { type: 'str', value: 'llama' };
    expect(rejection(llama).message).toContain('general.architecture "zaya", got "llama"');
    const noNorm = header(SMALL, 'blocks');
    noNorm.tensors = noNorm.tensors.filter(({ name }) => !name.includes('post_attention_norm'));
    expect(rejection(noNorm)).toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('a zaya dialect'),
    });
    const noFinal = header(SMALL, 'half-layers');
    noFinal.tensors = noFinal.tensors.filter(({ name }) => !name.startsWith('res_scale_hs'));
    expect(rejection(noFinal)).toMatchObject({ code: 'BAD_CHECKPOINT' });
    const odd = header(SMALL, 'half-layers');
    odd.metadata['zaya.block_count'] = u32(5);
    expect(rejection(odd).message).toContain('even number of half-layers');
  });

  it.each<[string, (tensors: GgufHeader['tensors']) => void, string]>([
    [
      'a duplicate name',
      (tensors) => tensors.push({ ...tensors[3]!, offsetBytes: 2 ** 20 }),
      'each name once',
    ],
    [
      'overlapping data',
      (tensors) => {
        tensors[4]!.offsetBytes = tensors[3]!.offsetBytes;
      },
      'an overlap',
    ],
    [
      'misaligned data',
      (tensors) => {
        tensors.at(-1)!.offsetBytes += 8;
      },
      'a multiple of 32',
    ],
    [
      'data beyond the file',
      (tensors) => {
        tensors[2]!.offsetBytes = 2 ** 40;
      },
      'inside the file',
    ],
    [
      'a size that its shape does not give',
      (tensors) => {
        tensors[2]!.sizeBytes += 4;
      },
      'to occupy',
    ],
    [
      'rows of broken blocks',
      (tensors) => {
        tensors[0]!.type = ggmlType('Q8_0');
      },
      'whole blocks of 32',
    ],
    [
      'a negative size',
      (tensors) => {
        tensors[0]!.ne = [-8, 19];
      },
      'non-negative',
    ],
  ])('rejects %s', (_, change, message) => {
    const gguf = header(SMALL, 'half-layers');
    change(gguf.tensors);
    const error = rejection(gguf);
    expect(error.code).toBe('BAD_CHECKPOINT');
    expect(error.message).toContain(message);
  });
});
