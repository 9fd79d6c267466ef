import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sizeBytes } from '../../src/dtype.js';
import { type ConvertOptions, convertModel } from '../../src/models/gguf/convert.js';
import { GGUF_TYPES } from '../../src/models/gguf/types.js';
import { openModelSource } from '../../src/models/layout/source.js';
import { openModel } from '../../src/models/runtime/model.js';
import { requiredTensors } from '../../src/models/runtime/weights.js';
import { parseZayaConfig, readZayaConfig } from '../../src/models/zaya/config.js';
import { readGgufHeader } from '../../src/weights/formats/gguf-header.js';
import { readTensor } from '../../src/weights/tensor-data.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { writeBlocksGguf } from './blocks-gguf.js';
import { SMALL_CONFIG, WIDE_CONFIG, writeLegacyModel, writeRandomModel } from './random-model.js';

const TINY = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const PROMPT = [5, 17, 3, 40, 8, 8, 29];
/** As `tokenizers` writes it; it refuses one without `add_prefix_space`. */
const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

async function logits(path: string, policyName = 'f32'): Promise<Float32Array> {
  using model = await openModel(path, { policy: policyName, threads: 1 });
  return model.prefill(PROMPT);
}

/** Power of the difference over the power of the reference. */
function nmse(reference: Float32Array, tested: Float32Array): number {
  let difference = 0;
  let power = 0;
  for (const [i, value] of reference.entries()) {
    difference += (tested[i]! - value) ** 2;
    power += value ** 2;
  }
  return difference / power;
}

async function failure(path: string, options: Partial<ConvertOptions> & { out: string }): Promise<unknown> {
  return convertModel(path, { type: 'f32', ...options }).then(
    () => {
      throw new Error('converted');
    },
    (error: unknown) => error,
  );
}

/** Of a class that takes the file as it is; that of `zaya` builds Gemma's pipeline whatever it says. */
async function writeTokenizer(model: string, text: string): Promise<void> {
  await writeFile(join(model, 'tokenizer.json'), text);
  const config = { tokenizer_class: 'PreTrainedTokenizerFast' };
  await writeFile(join(model, 'tokenizer_config.json'), JSON.stringify(config));
}

describe('convertModel to f32', () => {
  it('gives a file that runs bit for bit as the checkpoint', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const out = join(folder, 'model.gguf');
    const result = await convertModel(model, { type: 'f32', out });
    expect(result).toMatchObject({
      vocabulary: 61,
      sourceVocabulary: 61,
      hasTokenizer: false,
      fallbacks: [],
    });
    expect((await openModelSource(out)).config).toEqual(await readZayaConfig(model));
    expect(await logits(out)).toEqual(await logits(model));
  });

  it('gives the same bytes from the legacy layout, which runs bit for bit as the native one', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const legacy = await writeLegacyModel(
      model,
      join(folder, 'legacy', 'model'),
      parseZayaConfig(SMALL_CONFIG),
    );
    expect(await logits(legacy)).toEqual(await logits(model));
    expect(await logits(legacy, 'bf16-weights')).toEqual(await logits(model, 'bf16-weights'));
    await convertModel(model, { type: 'q8_0', out: join(folder, 'a.gguf') });
    await convertModel(legacy, { type: 'q8_0', out: join(folder, 'b.gguf') });
    expect(
      Buffer.compare(await readFile(join(folder, 'b.gguf')), await readFile(join(folder, 'a.gguf'))),
    ).toBe(0);
  });

  it('gives the same values from the other GGUF dialect, whose grouped convolution is tap-major', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const blocks = await writeBlocksGguf(model, join(folder, 'blocks.gguf'));
    expect((await openModelSource(blocks)).layout).toBe('gguf blocks');
    expect(await logits(blocks)).toEqual(await logits(model));
    const out = join(folder, 'half-layers.gguf');
    await convertModel(blocks, { type: 'f32', out });
    expect((await openModelSource(out)).layout).toBe('gguf half-layers');
    expect(await logits(out)).toEqual(await logits(model));
  });

  it('carries biases and an untied head', async () => {
    const folder = await temporaryFolder();
    const config = { ...SMALL_CONFIG, attention_bias: true, lm_head_bias: true, tie_word_embeddings: false };
    const model = await writeRandomModel(join(folder, 'model'), config);
    const out = join(folder, 'model.gguf');
    await convertModel(model, { type: 'f32', out });
    expect((await openModelSource(out)).config).toEqual(await readZayaConfig(model));
    expect(await logits(out)).toEqual(await logits(model));
  });

  it('writes a stored head of a tied config only where it differs from the embedding', async () => {
    const folder = await temporaryFolder();
    const untied = { ...SMALL_CONFIG, tie_word_embeddings: false };
    const make = async (name: string, isEqual: boolean) => {
      let embedding: Float32Array | undefined;
      const model = await writeRandomModel(join(folder, name), untied, {
        edit: (tensor, values) => {
          if (tensor === 'model.embed_tokens.weight') embedding = values.slice();
          if (tensor === 'lm_head.weight' && isEqual) values.set(embedding!);
        },
      });
      await writeFile(join(model, 'config.json'), JSON.stringify(SMALL_CONFIG));
      const out = join(folder, `${name}.gguf`);
      await convertModel(model, { type: 'f32', out });
      expect(await logits(out)).toEqual(await logits(model));
      return (await openModelSource(out)).config.tie_word_embeddings;
    };
    expect(await make('equal', true)).toBe(true);
    expect(await make('other', false)).toBe(false);
  });

  it('trims the vocabulary to the tokenizer and embeds it', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'), SMALL_CONFIG);
    const vocab = Object.fromEntries(
      [
        'a',
        'b c',
        '<eos>',
        '<u>',
        'ab c',
        ...Array.from({ length: 45 }, (_, at) => String.fromCharCode(0x4e00 + at)),
      ].map((token, at) => [token, at === 49 ? 51 : at]),
    );
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    const tokenizer = {
      model: { type: 'BPE', vocab, merges: [['a', 'b c']], byte_fallback: false },
      added_tokens: [
        { id: 50, content: '<end>', ...plain, special: true },
        { id: 2, content: '<eos>', ...plain, special: false },
        { id: 3, content: '<u>', ...plain, special: false },
      ],
      pre_tokenizer: { type: 'Sequence', pretokenizers: [BYTE_LEVEL] },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<end>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: { '<end>': { id: '<end>', ids: [50], tokens: ['<end>'] } },
      },
    };
    await writeTokenizer(model, JSON.stringify(tokenizer));
    await writeFile(join(model, 'chat_template.jinja'), '{{ messages }}');
    const out = join(folder, 'model.gguf');
    const result = await convertModel(model, { type: 'f32', out });
    expect(result).toMatchObject({ vocabulary: 52, sourceVocabulary: 61, hasTokenizer: true });
    expect((await openModelSource(out)).config.vocab_size).toBe(52);
    const { metadata } = await readGgufHeader('test', out);
    const value = (key: string) => metadata[`tokenizer.${key}`]?.value;
    const tokens = value('ggml.tokens') as string[];
    expect([tokens[0], tokens[2], tokens[49], tokens[50]]).toEqual(['a', '<eos>', '[PAD49]', '<end>']);
    const types = value('ggml.token_type') as number[];
    expect([types[0], types[2], types[3], types[49], types[50]]).toEqual([1, 3, 4, 5, 3]);
    expect(value('ggml.merges')).toEqual(['a bĠc']);
    expect([value('ggml.model'), value('ggml.add_bos_token'), value('chat_template')]).toEqual([
      'gpt2',
      true,
      '{{ messages }}',
    ]);
    expect(JSON.parse(value('huggingface.json') as string)).toMatchObject(tokenizer);
    const whole = await logits(model);
    const trimmed = await logits(out);
    const rows = Array.from({ length: whole.length / 61 }, (_, row) =>
      whole.subarray(61 * row, 61 * row + 52),
    );
    // Not bit for bit: how many columns a product has decides which of ggml's kernels sums it, on some
    // processors.
    expect(trimmed.length).toBe(rows.length * 52);
    const worst = rows.flatMap((row, k) =>
      [...row].map((value, c) => Math.abs(trimmed[52 * k + c]! - value)),
    );
    expect(Math.max(...worst)).toBeLessThan(1e-5);
    // A GGUF file as the source keeps the tokenizer as it is.
    await convertModel(out, { type: 'bf16', out: join(folder, 'again.gguf') });
    const again = (await readGgufHeader('test', join(folder, 'again.gguf'))).metadata;
    for (const key of Object.keys(metadata).filter((each) => each.startsWith('tokenizer.')))
      expect(again[key]).toEqual(metadata[key]);
  });
});

describe('convertModel of the trained tiny model', () => {
  it('embeds its tokenizer, and f32 runs bit for bit', async () => {
    const out = join(await temporaryFolder(), 'tiny.gguf');
    const result = await convertModel(TINY, { type: 'f32', out });
    expect(result).toMatchObject({ hasTokenizer: true, vocabulary: 259 });
    expect(await logits(out)).toEqual(await logits(TINY));
  });
});

describe('convertModel to narrower types', () => {
  it('comes the closer to the logits of F32 the wider the type is, used in place or widened', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'), WIDE_CONFIG, { dtype: 'F32' });
    const reference = await logits(model);
    const errors: number[] = [];
    for (const type of GGUF_TYPES) {
      const out = join(folder, `${type}.gguf`);
      await convertModel(model, { type, out });
      const widened = await logits(out);
      errors.push(nmse(reference, widened));
      // In place, the activations are rounded too: to 8 bits for quantised types.
      expect(nmse(widened, await logits(out, 'bf16-weights'))).toBeLessThan(1e-3);
    }
    expect(GGUF_TYPES).toEqual(['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k_m', 'q4_k_m', 'q4_0']);
    expect(errors).toEqual([...errors].sort((a, b) => a - b));
    expect(errors[0]).toBe(0);
    expect(errors.at(-1)).toBeLessThan(0.1);
  });

  it('keeps bits where source and type agree', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const out = join(folder, 'model.gguf');
    await convertModel(model, { type: 'bf16', out });
    const [a, b] = [await openModelSource(model), await openModelSource(out)];
    for (const { name, role } of requiredTensors(a.config)) {
      if (role !== 'matmul' || name.includes('.gate.')) continue;
      expect(await readTensor(b.checkpoint.tensors.get(name)!)).toEqual(
        await readTensor(a.checkpoint.tensors.get(name)!),
      );
    }
  });

  it('uses importance per expert, and lists what has none', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'), WIDE_CONFIG);
    const columns = 256;
    const name = 'blk.1.ffn_down_exps.weight';
    const even = new Float32Array(4 * columns).fill(1);
    const peaked = even.map((_, i) => (Math.floor(i / columns) === 1 && i % columns < 8 ? 1000 : 1));
    const convert = (out: string, importance: Float32Array) =>
      convertModel(model, {
        type: 'q4_0',
        out: join(folder, out),
        importance: new Map([[name, importance]]),
      });
    await convert('even.gguf', even);
    const result = await convert('peaked.gguf', peaked);
    expect(result.weighted).toBe(1);
    expect(result.unweighted).toContain('token_embd.weight');
    expect(result.unweighted).not.toContain(name);
    const experts = async (file: string) => {
      const info = (await openModelSource(join(folder, file))).checkpoint.tensors.get(
        'model.layers.0.mlp.experts.down_proj',
      )!;
      const bytes = await readTensor(info);
      const each = sizeBytes('Q4_0', columns * columns);
      return [0, 1, 2, 3].map((expert) => bytes.slice(expert * each, (expert + 1) * each));
    };
    const [plain, weighted] = [await experts('even.gguf'), await experts('peaked.gguf')];
    const isSame = plain.map((bytes, expert) => Buffer.compare(bytes, weighted[expert]!) === 0);
    expect(isSame).toEqual([true, false, true, true]);
    expect(
      await failure(model, {
        out: join(folder, 'x.gguf'),
        type: 'q4_0',
        importance: new Map([[name, even.subarray(1)]]),
      }),
    ).toMatchObject({ code: 'BAD_ARGUMENT', tensor: name });
  });
});

describe('convertModel leaves no file and says why', () => {
  it('for an existing file, a folder, another name, a missing folder', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const out = join(folder, 'out.gguf');
    await writeFile(out, 'precious');
    expect(await failure(model, { out })).toMatchObject({
      code: 'IO',
      message: expect.stringContaining('--overwrite'),
    });
    expect(await readFile(out, 'utf8')).toBe('precious');
    await convertModel(model, { type: 'f32', out, overwrite: true });
    expect((await openModelSource(out)).layout).toBe('gguf half-layers');
    expect(await failure(model, { out: join(folder, 'model.bin') })).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(await failure(model, { out: join(folder, 'absent', 'a.gguf') })).toMatchObject({ code: 'IO' });
  });

  it('for a quantised source, values beyond F16, NaN to be quantised, a tokenizer larger than the embedding', async () => {
    const folder = await temporaryFolder();
    const name = 'model.layers.1.self_attn.o_proj.weight';
    const make = (kind: string, value: number) =>
      writeRandomModel(join(folder, kind), WIDE_CONFIG, {
        dtype: 'F32',
        edit: (tensor, values) => {
          if (tensor === name) values[300] = value;
        },
      });
    const large = await make('large', 70_000);
    expect(await failure(large, { out: join(folder, 'a.gguf'), type: 'f16' })).toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('got 70000 at index 300 (blk.2.attn_output.weight)'),
    });
    const broken = await make('broken', Number.NaN);
    for (const type of ['f32', 'f16', 'bf16', 'q8_0'] as const)
      expect(await failure(broken, { out: join(folder, 'a.gguf'), type })).toMatchObject({
        code: 'BAD_CHECKPOINT',
        message: expect.stringMatching(/expected finite values, got NaN.* at index 300/),
      });
    const quantised = join(folder, 'quantised.gguf');
    await convertModel(large, { type: 'q8_0', out: quantised });
    expect(await failure(quantised, { out: join(folder, 'a.gguf') })).toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('got Q8_0'),
    });
    await writeTokenizer(
      large,
      JSON.stringify({
        model: { type: 'BPE', vocab: { a: 5000 }, merges: [] },
        added_tokens: [],
        pre_tokenizer: BYTE_LEVEL,
      }),
    );
    expect(await failure(large, { out: join(folder, 'a.gguf') })).toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('got 5001'),
    });
    expect((await readdir(folder)).filter((each) => each.includes('a.gguf'))).toEqual([]);
  });

  it('when cancelled', async () => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    expect(
      await failure(model, { out: join(folder, 'a.gguf'), onProgress, signal: controller.signal }),
    ).toMatchObject({ code: 'CANCELLED' });
    expect(await readdir(folder)).toEqual(['model']);
  });

  it.each([
    ['not JSON', '{', 'valid JSON'],
    ['another model', '{"model":{"type":"Unigram","vocab":{}}}', 'BPE'],
    [
      'a negative id',
      '{"model":{"type":"BPE","vocab":{"a":-1}},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}}',
      'token ids',
    ],
    [
      'a huge id',
      '{"model":{"type":"BPE","vocab":{"a":1e9}},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}}',
      'token ids',
    ],
    [
      'no token',
      '{"model":{"type":"BPE","vocab":{},"merges":[]},"added_tokens":[],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}}',
      'token ids',
    ],
    [
      'another kind of BPE',
      '{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[],"pre_tokenizer":{"type":"Whitespace"}}',
      'byte-level',
    ],
    ['a list', '[]', 'a JSON object'],
  ])('for a tokenizer.json with %s', async (_, text, message) => {
    const folder = await temporaryFolder();
    const model = await writeRandomModel(join(folder, 'model'));
    await writeTokenizer(model, text);
    const error = await failure(model, { out: join(folder, 'a.gguf') });
    expect(['BAD_CHECKPOINT', 'BAD_CONFIG']).toContain((error as { code?: string }).code);
    expect(String(error)).toContain(message);
  });
});
