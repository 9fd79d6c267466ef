/** BPE models that the `tokenizers` library refuses, or reads in a way of its own. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { convertModel } from '../../src/models/gguf/convert.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { pythonJson, root } from '../reference/python.js';
import { temporaryFolder } from '../weights/fixtures.js';

const FIELDS = [
  'dropout',
  'unk_token',
  'continuing_subword_prefix',
  'end_of_word_suffix',
  'fuse_unk',
  'byte_fallback',
  'ignore_merges',
];
const VALUES = [null, '', 'a', 0, 0.5, 2, -1, true, false, [], {}];
/** What the library reads and we refuse by name: ids that are drawn, and pieces with marks. */
const REFUSED = ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'];
const READS = `
import json, sys
from tokenizers import Tokenizer
def reads(text):
    try:
        return bool(Tokenizer.from_str(text))
    except BaseException:
        return False
print(json.dumps([reads(text) for text in json.load(sys.stdin)]))`;

it('are refused wherever the library refuses them, and read alike elsewhere', async () => {
  const source = readFileSync(join(root, 'dumps', 'tiny', 'model', 'tokenizer.json'), 'utf8');
  const cases = FIELDS.flatMap((field) =>
    VALUES.map((value) => {
      const json = JSON.parse(source) as { model: Record<string, unknown> };
      json.model[field] = value;
      return { field, value, text: JSON.stringify(json) };
    }),
  );
  const right = pythonJson<boolean[]>(['-c', READS], JSON.stringify(cases.map(({ text }) => text)));
  expect(right.filter(Boolean).length).toBeGreaterThan(FIELDS.length);
  expect(right.filter((reads) => !reads).length).toBeGreaterThan(2 * FIELDS.length);
  const folder = await temporaryFolder();
  for (const [at, { field, value, text }] of cases.entries()) {
    writeFileSync(join(folder, 'tokenizer.json'), text);
    const found = await openTokenizer(folder).catch((error: unknown) => error);
    const what = `${field}: ${JSON.stringify(value)}`;
    if (found instanceof Error) {
      expect(found, what).toBeInstanceOf(ZayascopeError);
      if (right[at]) expect([REFUSED.includes(field) || field === 'unk_token', what]).toEqual([true, what]);
    } else expect([right[at], what]).toEqual([true, what]);
  }
});

it('have ids of 32 bits, and counts of more, wherever the library takes them', async () => {
  const source = readFileSync(join(root, 'dumps', 'tiny', 'model', 'tokenizer.json'), 'utf8');
  const padding = {
    strategy: { Fixed: 4 },
    direction: 'Right',
    pad_to_multiple_of: 2,
    pad_id: 1,
    pad_type_id: 1,
    pad_token: 'a',
  };
  const truncation = { direction: 'Right', max_length: 9, strategy: 'LongestFirst', stride: 0 };
  const piece = (type_id: number) => ({ Sequence: { id: 'A', type_id } });
  const template = (type_id: number, id: number) => ({
    type: 'TemplateProcessing',
    single: [piece(0)],
    pair: [piece(type_id), { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { b: { id: 'b', ids: [id], tokens: ['b'] } },
  });
  const cases = [2 ** 32 - 1, 2 ** 32, -1, 1.5].flatMap((value) =>
    [
      { post_processor: template(value, 1) },
      { post_processor: template(1, value) },
      { padding: { ...padding, pad_id: value } },
      { padding: { ...padding, pad_type_id: value } },
      { padding: { ...padding, pad_to_multiple_of: value } },
      { truncation: { ...truncation, max_length: value } },
    ].map((change) => JSON.stringify({ ...JSON.parse(source), ...change })),
  );
  const right = pythonJson<boolean[]>(['-c', READS], JSON.stringify(cases));
  expect(new Set(right).size).toBe(2);
  const folder = await temporaryFolder();
  const found: boolean[] = [];
  for (const text of cases) {
    writeFileSync(join(folder, 'tokenizer.json'), text);
    found.push(
      await openTokenizer(folder).then(
        () => true,
        () => false,
      ),
    );
  }
  expect(found).toEqual(right);
});

describe('a vocabulary', () => {
  const read = () =>
    JSON.parse(readFileSync(join(root, 'dumps', 'tiny', 'model', 'tokenizer.json'), 'utf8')) as {
      model: { vocab: Record<string, number> };
    };
  const write = async (json: object): Promise<string> => {
    const folder = await temporaryFolder();
    cpSync(join(root, 'dumps', 'tiny', 'model'), folder, { recursive: true });
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
    return folder;
  };

  it('with an id twice is refused by convert as by open', async () => {
    const json = read();
    json.model.vocab.h = json.model.vocab.i!;
    const folder = await write(json);
    const sentence = { code: 'BAD_CONFIG', message: expect.stringContaining('each token id once') };
    await expect(openTokenizer(folder)).rejects.toMatchObject(sentence);
    const out = join(folder, 'model.gguf');
    await expect(convertModel(folder, { type: 'f16', out })).rejects.toMatchObject(sentence);
    expect(existsSync(out)).toBe(false);
  });

  it('without a letter refuses texts with it, which the library leaves out, and never gives -1', async () => {
    const json = read();
    json.model.vocab.never = json.model.vocab.h!;
    delete json.model.vocab.h;
    const texts = ['hihi', 'h', 'oh hello', 'i', 'cat'];
    const ENCODE = `
import json, sys
from tokenizers import Tokenizer
text, texts = json.load(sys.stdin)
tokenizer = Tokenizer.from_str(text)
print(json.dumps([tokenizer.encode(each, add_special_tokens=False).ids for each in texts]))`;
    const right = pythonJson<number[][]>(['-c', ENCODE], JSON.stringify([JSON.stringify(json), texts]));
    const tokenizer = await openTokenizer(await write(json));
    expect(right.map(({ length }) => length)).toEqual([2, 0, 6, 1, 3]);
    for (const [at, text] of texts.entries())
      if (text.includes('h'))
        expect(() => tokenizer.encode(text, 'none')).toThrow('got a character without a token');
      else expect(tokenizer.encode(text, 'none')).toEqual(right[at]);
  });
});
