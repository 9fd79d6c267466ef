import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../src/native.js';
import { ggufTokenizer } from '../../src/text/gguf/read-tokenizer.js';

const text = (value: string): GgufValue => ({ type: 'str', value });
const texts = (value: string[]): GgufValue => ({ type: 'arr', itemType: 'str', value });
const number = (value: number): GgufValue => ({ type: 'u32', value });
const numbers = (value: number[]): GgufValue => ({ type: 'arr', itemType: 'i32', value });
const flag = (value: boolean): GgufValue => ({ type: 'bool', value });

const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
);
const words = ['\u2581', 'a', 'b', 'c', '\n', '\n\n', 'ab', '\u2581ab', '\u2581\u2581', '<turn>'];
/** `gemma4` as in ZAYA1's files, in small: pad, eos, bos, unk, bytes from 4, then words from 260. */
const gemma: Record<string, GgufValue> = {
  'tokenizer.ggml.model': text('gemma4'),
  'tokenizer.ggml.tokens': texts(['<pad>', '<eos>', '<bos>', '<unk>', ...bytes, ...words]),
  'tokenizer.ggml.token_type': numbers([
    3,
    3,
    3,
    2,
    ...bytes.map(() => 6),
    ...words.map((_, at) => (at === 9 ? 4 : 1)),
  ]),
  'tokenizer.ggml.merges': texts(['\u2581 \u2581', 'a b', '\u2581 ab', '\n \n']),
  'tokenizer.ggml.bos_token_id': number(2),
  'tokenizer.ggml.eos_token_id': number(1),
  'tokenizer.ggml.unknown_token_id': number(3),
  'tokenizer.chat_template': text('{{ bos_token }}<turn>{{ messages[0].content }}'),
};
const id = (word: string): number => 260 + words.indexOf(word);

/** `gpt2` over bytes without merges, as the tiny model's files have it. */
const byteWords = ['a', 'b', '\u0120', '\u00c3', '\u00a9', '<bos>'];
const plain: Record<string, GgufValue> = {
  'tokenizer.ggml.model': text('gpt2'),
  'tokenizer.ggml.tokens': texts(byteWords),
  'tokenizer.ggml.token_type': numbers([1, 1, 1, 1, 1, 3]),
  'tokenizer.ggml.bos_token_id': number(5),
};

describe('a gemma4 tokenizer in a GGUF file', () => {
  const tokenizer = ggufTokenizer(gemma, 'm.gguf');

  it.each<[string, number[]]>([
    ['ab', [id('ab')]],
    [' ab', [id('\u2581ab')]],
    ['  ab', [id('\u2581\u2581'), id('ab')]],
    ['a b', [id('a'), id('\u2581'), id('b')]],
    ['ab\n\nab', [id('ab'), id('\n\n'), id('ab')]],
    ['\n\n\n', [id('\n\n'), id('\n')]],
    ['\u00e9', [4 + 0xc3, 4 + 0xa9]],
    ['a<turn>b', [id('a'), id('<turn>'), id('b')]],
    ['<eos>', [1]],
  ])('encodes %j', (input, ids) => {
    expect(tokenizer.encode(input, 'none')).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(input);
  });

  it('begins sequences with bos whatever add_bos_token says, as llama.cpp does', () => {
    const off = ggufTokenizer({ ...gemma, 'tokenizer.ggml.add_bos_token': flag(false) }, 'm.gguf');
    expect(off.encode('a', 'tokenizer')).toEqual([2, id('a')]);
  });

  it('renders the chat template of the file', () => {
    expect(tokenizer.renderChat([{ role: 'user', content: 'ab' }])).toBe('<bos><turn>ab');
    expect(tokenizer.encode('<bos><turn>ab', 'none')).toEqual([2, id('<turn>'), id('ab')]);
  });
});

describe('a gpt2 tokenizer in a GGUF file', () => {
  it('maps bytes, and adds special tokens as the file says', () => {
    const tokenizer = ggufTokenizer(plain, 'm.gguf');
    expect(tokenizer.encode('a b\u00e9', 'tokenizer')).toEqual([0, 2, 1, 3, 4]);
    expect(tokenizer.decode([0, 2, 1, 3, 4])).toBe('a b\u00e9');
    expect(tokenizer.encode('a', 'bos')).toEqual([5, 0]);
    const adding = ggufTokenizer({ ...plain, 'tokenizer.ggml.add_bos_token': flag(true) }, 'm.gguf');
    expect(adding.encode('a', 'tokenizer')).toEqual([5, 0]);
    expect(tokenizer.hasChatTemplate).toBe(false);
  });

  it('merges inside words only', () => {
    const merges = {
      'tokenizer.ggml.merges': texts(['a b', 'b \u0120']),
      'tokenizer.ggml.tokens': texts([...byteWords, 'ab', 'b\u0120']),
    };
    const types = numbers([1, 1, 1, 1, 1, 3, 1, 1]);
    const tokenizer = ggufTokenizer({ ...plain, ...merges, 'tokenizer.ggml.token_type': types }, 'm.gguf');
    expect(tokenizer.encode('ab b ab', 'none')).toEqual([6, 2, 1, 2, 6]);
  });
});

describe('a tokenizer.json embedded in a GGUF file', () => {
  const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model', 'tokenizer.json');
  const json = { 'tokenizer.huggingface.json': text(readFileSync(tiny, 'utf8')) };

  it('goes before the other keys', () => {
    const tokenizer = ggufTokenizer({ ...plain, ...json }, 'm.gguf');
    expect(tokenizer.encode('b', 'tokenizer')).toEqual([257, 98]);
    expect(tokenizer.bosToken).toBe(257);
  });

  it('is refused where it is malformed', () => {
    expect(() => ggufTokenizer({ ...plain, 'tokenizer.huggingface.json': text('{') }, 'm.gguf')).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining('huggingface.json') }),
    );
  });
});

describe('a GGUF tokenizer', () => {
  it.each<[string, Record<string, GgufValue | undefined>, string]>([
    ['of another kind', { 'tokenizer.ggml.model': text('llama') }, 'tokenizer.ggml.model'],
    ['without a kind', { 'tokenizer.ggml.model': undefined }, 'tokenizer.ggml.model'],
    ['without tokens', { 'tokenizer.ggml.tokens': undefined }, 'tokenizer.ggml.tokens'],
    ['with numbers for tokens', { 'tokenizer.ggml.tokens': numbers([1]) }, 'tokenizer.ggml.tokens'],
    [
      'with a token twice',
      { 'tokenizer.ggml.tokens': texts([...bytes, ...words, '<a>', '<b>', '<c>', '<c>']) },
      'once',
    ],
    ['with too few types', { 'tokenizer.ggml.token_type': numbers([1]) }, 'tokenizer.ggml.token_type'],
    ['with half a merge', { 'tokenizer.ggml.merges': texts(['ab ']) }, 'tokenizer.ggml.merges'],
    [
      'with a bos beyond its tokens',
      { 'tokenizer.ggml.bos_token_id': number(270) },
      'tokenizer.ggml.bos_token_id',
    ],
    [
      'without the bos that it adds',
      { 'tokenizer.ggml.bos_token_id': undefined },
      'tokenizer.ggml.bos_token_id',
    ],
    [
      'without the eos that it adds',
      { 'tokenizer.ggml.add_eos_token': flag(true), 'tokenizer.ggml.eos_token_id': undefined },
      'eos',
    ],
    [
      'with a number for a flag',
      { 'tokenizer.ggml.add_eos_token': number(1) },
      'tokenizer.ggml.add_eos_token',
    ],
    [
      'of unknown words with merges',
      { 'tokenizer.ggml.model': text('gpt2'), 'tokenizer.ggml.pre': text('other') },
      'tokenizer.ggml.pre',
    ],
  ])('%s is a BAD_CONFIG that names the key', (_what, change, where) => {
    const metadata = { ...gemma, ...change };
    expect(() => ggufTokenizer(metadata, 'm.gguf')).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(where) }),
    );
  });
});
