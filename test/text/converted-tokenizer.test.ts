import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertTokenizer } from '../../src/text/gguf/convert-tokenizer.js';
import { ggufTokenizer } from '../../src/text/gguf/read-tokenizer.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../weights/fixtures.js';

/**
 * A tokenizer.json of the kind that ZAYA1 has, in small: Gemma's pipeline, and a template that adds bos
 * before and the turn's end after.
 */
function gemmaLike(): Record<string, unknown> {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const letters = [...'\u2581helo wrd!\n'].filter((each) => each !== ' ');
  const merged = ['he', 'll', 'hell', 'hello', '\u2581w', '\u2581wo', 'r\u2581', '\n\n', '\u2581\u2581'];
  const tokens = [
    '<pad>',
    '<eos>',
    '<bos>',
    '<unk>',
    '<end_of_turn>',
    ...bytes,
    ...new Set(letters),
    ...merged,
  ];
  const special = (id: number) => ({
    ...{ id, content: tokens[id], special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  });
  const added = (token: string) => ({ id: token, ids: [tokens.indexOf(token)], tokens: [token] });
  const piece = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  return {
    version: '1.0',
    added_tokens: [0, 1, 2, 3, 4].map(special),
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [piece('<bos>'), { Sequence: { id: 'A', type_id: 0 } }, piece('<end_of_turn>')],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<bos>': added('<bos>'), '<end_of_turn>': added('<end_of_turn>') },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [
        ['h', 'e'],
        ['l', 'l'],
        ['he', 'll'],
        ['hell', 'o'],
        ['\u2581', 'w'],
        ['\u2581w', 'o'],
        ['\n', '\n'],
        ['\u2581', '\u2581'],
      ],
      byte_fallback: true,
      unk_token: '<unk>',
    },
  };
}

describe('a tokenizer that went through a GGUF file', () => {
  it('says what is added after the text where it is the end of a sequence, and notes it where not', async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(gemmaLike()));
    const ended = (await convertTokenizer(folder, { bos: 2, eos: 4 }))!;
    expect(ended.notes).toEqual([]);
    expect(ggufTokenizer(ended.metadata, 'm.gguf').encode('he', 'tokenizer').at(-1)).toBe(4);
    const other = (await convertTokenizer(folder, { bos: 2, eos: 1 }))!;
    expect(other.metadata['tokenizer.ggml.add_eos_token']!.value).toBe(false);
    expect(other.notes).toEqual([expect.stringContaining('adds "<end_of_turn>" after each text')]);
  });

  it('gives the same ids and text, but for what is added after the text (G-14)', async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(gemmaLike()));
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<bos>' }));
    const own = await openTokenizer(folder);
    const converted = await convertTokenizer(folder);
    const bos = { 'tokenizer.ggml.bos_token_id': { type: 'u32', value: 2 } };
    const embedded = ggufTokenizer({ ...converted!.metadata, ...bos }, 'm.gguf');
    expect(embedded.size).toBe(own.size);
    for (const text of ['hello world!', '  hello\n\n\nworld', 'h\u00e9llo', '<end_of_turn>hell', '']) {
      const ids = own.encode(text, 'none');
      expect(embedded.encode(text, 'none')).toEqual(ids);
      expect(embedded.decode(ids)).toBe(text);
      expect(own.decode(ids)).toBe(text);
      expect(own.encode(text, 'tokenizer')).toEqual([2, ...ids, 4]);
      expect(embedded.encode(text, 'tokenizer')).toEqual([2, ...ids]);
      expect(own.encode(text, 'bos')).toEqual([2, ...ids]);
    }
  });
});
