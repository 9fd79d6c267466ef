import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blockSize, DTYPES, type Dtype, ggmlType, ggmlTypeName, isQuantized } from '../../src/dtype.js';
import { convertModel } from '../../src/models/gguf/convert.js';
import { openModelSource } from '../../src/models/layout/source.js';
import { native } from '../../src/native.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { weightsSha256 } from '../../src/weights/identity.js';
import { pythonJson, root } from '../reference/python.js';

const TINY = join(root, 'dumps', 'tiny', 'model');
const QUANTISED = DTYPES.filter(isQuantized);

let files: string;
let blocks: Partial<Record<Dtype, { bytes: number[]; values: number[] }>>;
const path = (name: string): string => join(files, name);
const identity = async (name: string): Promise<string> =>
  weightsSha256((await openModelSource(name)).checkpoint);

beforeAll(async () => {
  files = mkdtempSync(join(tmpdir(), 'zayascope-models-'));
  await convertModel(TINY, { type: 'q8_0', out: path('base.gguf') });
  blocks = pythonJson(['test/models/make_models.py', TINY, path('base.gguf'), files, QUANTISED.join()]);
});

afterAll(() => rmSync(files, { recursive: true, force: true }));

describe('a model', () => {
  it.each([
    ['third.gguf', 'gguf half-layers-cca'],
    ['split-00001-of-00002.gguf', 'gguf half-layers'],
    ['split-00002-of-00002.gguf', 'gguf half-layers'],
    [
      'ollama/blobs/sha256-abababababababababababababababababababababababababababababababab',
      'gguf half-layers',
    ],
    ['ollama/manifests/registry/library/zaya/latest', 'gguf half-layers'],
  ])('of %s is that of the file it was made from', async (name, layout) => {
    const [source, base] = [await openModelSource(path(name)), await openModelSource(path('base.gguf'))];
    expect(source.layout).toBe(layout);
    expect(source.config).toEqual(base.config);
    expect(await weightsSha256(source.checkpoint)).toBe(await weightsSha256(base.checkpoint));
    expect((await openTokenizer(path(name))).encode('a', 'none')).toEqual(
      (await openTokenizer(path('base.gguf'))).encode('a', 'none'),
    );
  });

  it.each([
    'pytorch',
    'pytorch-views',
    'pytorch-shards',
    'infinite',
    'extra-scale',
    'cache',
    'cache/models--Zyphra--tiny',
  ])('of the folder %s is that of the safetensors file', async (name) => {
    const { config } = await openModelSource(path(name));
    expect(config).toEqual((await openModelSource(TINY)).config);
    if (name !== 'extra-scale') expect(await identity(path(name))).toBe(await identity(TINY));
  });

  it('whose index names a tensor too many is read, with a note', async () => {
    const { checkpoint } = await openModelSource(path('stale'));
    expect(checkpoint.notes).toEqual([
      'model.safetensors.index.json names lm_head.weight, which no shard has',
    ]);
    expect(await weightsSha256(checkpoint)).toBe(await identity(TINY));
  });

  it.each([
    [
      'fp8',
      'BAD_CHECKPOINT',
      'got model.layers.0.self_attn.o_proj.weight_scale_inv beside them (FP8 in blocks',
    ],
    ['compressed', 'BAD_CHECKPOINT', 'o_proj.weight_scale beside them'],
    ['scales', 'BAD_CHECKPOINT', 'o_proj.scales beside them (MLX, GPTQ or AWQ'],
    ['quantised', 'BAD_CONFIG', 'got a quantised model by its quantization_config (fp8)'],
    ['mlx', 'BAD_CONFIG', 'got a quantised model by its quantization (MLX, 4 bits, groups of 64)'],
    ['pointer', 'BAD_CHECKPOINT', 'got a git-lfs pointer instead of the file'],
    ['unfinished', 'BAD_CHECKPOINT', 'the download did not finish'],
    ['models--blobs--alone', 'BAD_CHECKPOINT', 'the download did not finish'],
    ['yarn.gguf', 'BAD_CONFIG', 'zaya.rope.scaling.type: "none"'],
    ['sigmoid.gguf', 'BAD_CONFIG', 'zaya.expert_gating_func: 0 or 1 or 3'],
    ['big.gguf', 'BAD_CHECKPOINT', 'got a big-endian one of version 3'],
    ['pytorch/pytorch_model.bin', 'IO', 'give the folder that holds it and config.json'],
    ['pytorch/config.json', 'IO', 'give the folder that holds it and config.json'],
  ])('%s is refused for what it is', async (name, code, message) => {
    await expect(openModelSource(path(name))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it.each([
    [1, 'got version 1, of August 2023'],
    [4, 'got version 4, which is newer than this ggml'],
  ])('of GGUF version %d is refused for that', async (version, message) => {
    const bytes = readFileSync(path('base.gguf')).subarray(0, 4096);
    bytes.writeUInt32LE(version, 4);
    writeFileSync(path('version.gguf'), bytes);
    await expect(openModelSource(path('version.gguf'))).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining(message),
    });
  });

  it('with a NUL in a name, at which ggml would end it, is refused', async () => {
    const bytes = readFileSync(path('base.gguf'));
    const at = bytes.indexOf('token_embd.weight');
    expect(at).toBeGreaterThan(0);
    bytes[at + 5] = 0;
    writeFileSync(path('nul.gguf'), bytes);
    await expect(openModelSource(path('nul.gguf'))).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('got one that begins with "token"'),
    });
  });

  it('lacks a part that is not there', async () => {
    unlinkSync(path('split-00002-of-00002.gguf'));
    await expect(openModelSource(path('split-00001-of-00002.gguf'))).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('got no part 2, split-00002-of-00002.gguf'),
    });
  });
});

describe('blocks of ggml', () => {
  it('are known by all names', () => {
    expect(ggmlTypeName(20)).toBe('IQ4_NL');
    expect(ggmlTypeName(39)).toBe('MXFP4');
    expect(ggmlTypeName(31)).toContain('Q4_0_4_4 (removed from ggml');
    expect(ggmlTypeName(137)).toBe('type 137 (unknown to ggml)');
  });

  it.each(QUANTISED)('of %s are the numbers that gguf-py makes of them', async (dtype) => {
    const block = blocks[dtype];
    // gguf-py does not read the two newest types.
    if (block === undefined) return expect(['Q1_0', 'Q2_0']).toContain(dtype);
    const out = new Float32Array(block.values.length);
    expect(block.values.length).toBeGreaterThan(4 * blockSize(dtype));
    await native().dequantize(Uint8Array.from(block.bytes), ggmlType(dtype), blockSize(dtype), out);
    const largest = block.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const worst = block.values.reduce((most, value, at) => Math.max(most, Math.abs(value - out[at]!)), 0);
    // Both compute in F32, in another order of factors.
    expect(worst / largest).toBeLessThan(3e-7);
  });
});
