import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readReferenceManifest } from './manifest.js';
import { pythonJson, root } from './python.js';

const tiny = join(root, 'dumps', 'tiny');
const json = (file: string) => JSON.parse(readFileSync(join(tiny, file), 'utf8'));
const prompt = json('prompt.json') as { text: string; tokens: number[] };

function folderBytes(name: string): number {
  return readdirSync(join(tiny, name)).reduce((sum, file) => sum + statSync(join(tiny, name, file)).size, 0);
}

/**
 * The weights' identity, computed here from the format's description: names in byte order, both ends of large
 * tensors.
 */
function weightsSha256(file: string): string {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes));
  const data = bytes.subarray(8 + headerBytes);
  const hash = createHash('sha256');
  for (const name of Object.keys(tensors).toSorted((a, b) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  )) {
    const { dtype, shape, data_offsets: offsets } = tensors[name];
    hash.update(`${name}\0${dtype}\0${shape.join(',')}\0`);
    const tensor = data.subarray(offsets[0], offsets[1]);
    hash.update(tensor.subarray(0, 32768));
    hash.update(tensor.length > 65536 ? tensor.subarray(-32768) : tensor.subarray(32768));
  }
  return hash.digest('hex');
}

describe('the committed tiny model', () => {
  it('has the shape that was asked of it, and special ids that are no bytes', () => {
    expect(json('model/config.json')).toMatchObject({
      ...{ num_hidden_layers: 8, num_experts: 8, num_attention_heads: 8, num_key_value_heads: 2 },
      ...{ vocab_size: 259, pad_token_id: 256, bos_token_id: 257, eos_token_id: 258 },
    });
  });

  it('fits its size limits', () => {
    expect(folderBytes('model')).toBeLessThanOrEqual(8 * 2 ** 20);
    expect(folderBytes('reference-float32') + folderBytes('reference-bfloat16')).toBeLessThanOrEqual(
      24 * 2 ** 20,
    );
  });

  it('keeps balancing biases in F32 and everything else in BF16', () => {
    const bytes = readFileSync(join(tiny, 'model', 'model.safetensors'));
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))));
    for (const [name, tensor] of Object.entries<{ dtype: string }>(header)) {
      if (name === '__metadata__') continue;
      expect([name, tensor.dtype]).toEqual([name, name.endsWith('balancing_biases') ? 'F32' : 'BF16']);
    }
  });

  it('encodes and decodes any text byte by byte in transformers', () => {
    const controls = Array.from({ length: 0x300 }, (_, code) => String.fromCharCode(code)).join('');
    const texts = [prompt.text, controls, ' naïve 😀 中文\u2028\n\n  <x> \ttail ', ''];
    const { ids, decoded, special } = pythonJson<{ ids: number[][]; decoded: string[]; special: number[] }>(
      [join('test', 'reference', 'encode_texts.py'), join(tiny, 'model')],
      JSON.stringify(texts),
    );
    expect(ids).toEqual(texts.map((text) => [257, ...Buffer.from(text)]));
    expect(decoded).toEqual(texts);
    expect(special).toEqual([256, 257, 258]);
  });
});

describe('the committed prompt', () => {
  const routing = pythonJson<{ experts: number[][]; minMargin: number; skipClass: number }>([
    join('test', 'reference', 'routing.py'),
    join(tiny, 'reference-float32'),
  ]);

  it('is what its text encodes to, and what both dumps were fed', () => {
    expect(prompt.tokens).toEqual([257, ...Buffer.from(prompt.text)]);
    expect(prompt.tokens.length).toBeGreaterThanOrEqual(48);
    expect(prompt.tokens.length).toBeLessThanOrEqual(64);
    for (const dtype of ['float32', 'bfloat16']) {
      const manifest = readReferenceManifest(join(tiny, `reference-${dtype}`));
      expect(manifest.sequences).toEqual([{ tokens: prompt.tokens }]);
      expect(manifest).toMatchObject({ status: 'complete', tier: 'full', steps: 1 });
      expect(manifest.policy.name).toBe(`transformers-${dtype}`);
    }
  });

  it('takes the skip class for 2 to 10 % of its tokens, over all blocks', () => {
    const choices = routing.experts.flat();
    const share = choices.filter((expert) => expert === routing.skipClass).length / choices.length;
    expect(choices).toHaveLength(8 * prompt.tokens.length);
    expect(share).toBeGreaterThanOrEqual(0.02);
    expect(share).toBeLessThanOrEqual(0.1);
  });

  it('uses every expert in every block', () => {
    for (const experts of routing.experts) {
      expect(new Set(experts.filter((expert) => expert !== routing.skipClass)).size).toBe(8);
    }
  });

  it('is routed with margins above 1e-5', () => {
    expect(routing.minMargin).toBeGreaterThan(1e-5);
  });
});

describe('the manifests', () => {
  it.each(['float32', 'bfloat16'])('identify the committed checkpoint (%s)', (dtype) => {
    const { model } = readReferenceManifest(join(tiny, `reference-${dtype}`));
    const config = readFileSync(join(tiny, 'model', 'config.json'));
    expect(model).toEqual({
      type: 'zaya',
      name: 'model',
      config: JSON.parse(config.toString('utf8')),
      configSha256: createHash('sha256').update(config).digest('hex'),
      weightsSha256: weightsSha256(join(tiny, 'model', 'model.safetensors')),
      dtype: 'BF16',
    });
  });
});
