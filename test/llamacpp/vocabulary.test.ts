import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GgufValue } from '../../src/native.js';
import { convertTokenizer } from '../../src/text/gguf/convert-tokenizer.js';
import { ggufTokenizer } from '../../src/text/gguf/read-tokenizer.js';
import { writeGguf } from '../../src/weights/gguf-write.js';
import { KINDS, TEXTS, writeKind } from '../text/tokenizer-kinds.js';
import { compileProgram, hasLibllama, runProgram } from './libllama.js';

/** A kind of tokenizer and what `convert` makes of it. */
const WRITTEN: [name: string, model: string, pre: string][] = [
  ['gemma', 'gemma4', 'gemma4'],
  ['gpt-2', 'gpt2', 'gpt-2'],
  ['llama-bpe', 'gpt2', 'llama-bpe'],
  ['smaug-bpe', 'gpt2', 'smaug-bpe'],
  ['qwen2', 'gpt2', 'qwen2'],
  ['qwen35', 'gpt2', 'qwen35'],
  ['deepseek-v3', 'gpt2', 'deepseek-v3'],
  ['smollm', 'gpt2', 'smollm'],
  ['no-merges', 'gpt2', 'default'],
  ['llama', 'llama', 'default'],
  ['llama-no-prefix', 'llama', 'default'],
];

/** Keys that any model of the architecture has; there are no tensors. */
async function writeVocabulary(file: string, tokenizer: Record<string, GgufValue>): Promise<void> {
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  const keys: Record<string, GgufValue> = {
    'general.architecture': { type: 'str', value: 'llama' },
    'llama.context_length': u32(64),
    'llama.embedding_length': u32(8),
    'llama.block_count': u32(1),
    'llama.feed_forward_length': u32(8),
    'llama.attention.head_count': u32(1),
    'llama.rope.dimension_count': u32(8),
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
  };
  await writeGguf(file, { ...keys, ...tokenizer }, [], () => []);
}

// Needs the prebuilt libllama of Linux and a C++ compiler; elsewhere the tests show as skipped.
describe.skipIf(!hasLibllama)("libllama's vocabulary of a converted tokenizer", () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-vocabulary-'));
    await compileProgram(join(import.meta.dirname, 'vocabulary.cpp'), join(folder, 'vocabulary'));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(WRITTEN)('gives the ids of tokenizer.json: %s', async (name, model, pre) => {
    const { metadata, notes } = (await convertTokenizer(writeKind(folder, name)))!;
    expect(notes).toEqual([]);
    expect([metadata['tokenizer.ggml.model']!.value, metadata['tokenizer.ggml.pre']!.value]).toEqual([
      model,
      pre,
    ]);
    const file = join(folder, `${name}.gguf`);
    await writeVocabulary(file, metadata);
    const input = TEXTS.map((text) => `${Buffer.from(text).toString('hex')}\n`).join('');
    const { status, stdout, stderr } = runProgram(join(folder, 'vocabulary'), [file], input);
    expect(status, stderr).toBe(0);
    const lines = stdout.split('\n');
    const { ids } = KINDS[name]!;
    const own = ggufTokenizer(metadata, file);
    for (const [at, text] of TEXTS.entries()) {
      const given = lines[2 * at]!.split(' ')
        .filter((id) => id !== '')
        .map(Number);
      expect(given, JSON.stringify(text)).toEqual(ids[at]);
      expect(own.encode(text, 'tokenizer'), JSON.stringify(text)).toEqual(ids[at]);
      // And back: the pieces of the ids are the text that ids give here.
      const pieces = Buffer.from(lines[2 * at + 1]!, 'hex').toString('utf8');
      expect(own.decode(given), JSON.stringify(text)).toBe(pieces);
    }
  });
});

const REFUSED: [name: string, what: string][] = [
  ['joined-lines', 'no merge of a line end'],
  ['flags', 'lstrip of "<sp>"'],
  ['nfc', 'NFC'],
  ['ignore-merges', 'ignore_merges'],
  ['prepend', 'make without a merge'],
  ['metaspace-first', 'Metaspace'],
  ['metaspace-split', 'Metaspace'],
  ['gpt-4o', 'Split "[^'],
  ['split-previous', 'Split "\\\\p{P}+|\\\\s"'],
  ['split-runs', 'Punctuation'],
  ['lower', 'NFD'],
  ['unknown', 'without byte fallback'],
  ['prefix-space', 'add_prefix_space'],
  ['bos-flag', 'make without a merge'],
];

describe('a tokenizer that llama.cpp has no form for', () => {
  it.each(REFUSED)('is refused by name: %s', async (name, what) => {
    const folder = mkdtempSync(join(tmpdir(), 'zayascope-vocabulary-'));
    try {
      await expect(convertTokenizer(writeKind(folder, name))).rejects.toMatchObject({
        code: 'BAD_CHECKPOINT',
        message: expect.stringContaining(what),
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
