import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { folderStopTokens, ggufStopTokens } from '../../src/text/stop-tokens.js';
import { TextStream } from '../../src/text/text-stream.js';
import { promptTokens } from '../../src/text/token-source.js';
import { openTokenizer, type TextTokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../weights/fixtures.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');
const TEMPLATE =
  '{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}{% if add_generation_prompt %}[model]{% endif %}';

/** Sets the value at a path like `model.vocab.a` in a JSON file; undefined removes it. */
type Patch = readonly [path: string, value: unknown];

/** A copy of the tiny model's tokenizer with some files replaced or patched. */
async function changed(files: Record<string, string | Patch>): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(tiny, name), join(folder, name));
  for (const [name, change] of Object.entries(files)) {
    const file = join(folder, name);
    writeFileSync(file, typeof change === 'string' ? change : patched(readFileSync(file, 'utf8'), change));
  }
  return folder;
}

function patched(text: string, [path, value]: Patch): string {
  const json = JSON.parse(text) as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce((object, key) => object[key] as Record<string, unknown>, json);
  parent[last] = value; // JSON leaves out undefined
  return JSON.stringify(json);
}

let tokenizer: TextTokenizer;
beforeAll(async () => {
  tokenizer = await openTokenizer(tiny);
});

describe('the tokenizer of a folder', () => {
  it("gives the ids that transformers gave for the reference's prompt", () => {
    const { text, tokens } = JSON.parse(readFileSync(join(tiny, '..', 'prompt.json'), 'utf8'));
    expect(tokenizer.encode(text, 'tokenizer')).toEqual(tokens);
  });

  it.each([
    ['tokenizer', [257, 195, 169]],
    ['bos', [257, 195, 169]],
    ['none', [195, 169]],
  ] as const)('adds the special tokens that %s says', (special, ids) => {
    expect(tokenizer.encode('\u00e9', special)).toEqual(ids);
  });

  it('adds what its post-processor says after the text too, and bos alone when asked', async () => {
    const after = { SpecialToken: { id: '<eos>', type_id: 0 } };
    const folder = await changed({ 'tokenizer.json': ['post_processor.single.2', after] });
    const prompt = { text: 'a', special: 'tokenizer' } as const;
    expect(await promptTokens(folder, prompt)).toMatchObject({
      tokens: [257, 97, 258],
      added: { before: [257], after: [258] },
    });
    expect(await promptTokens(folder, { ...prompt, special: 'bos' })).toMatchObject({
      tokens: [257, 97],
      added: { before: [257], after: [] },
    });
  });

  it('recognises special tokens in the text and does not double the first', () => {
    expect(tokenizer.encode('<bos>a<eos>', 'bos')).toEqual([257, 97, 258]);
  });

  it('decodes special tokens, split characters and ids that it does not have', () => {
    expect(tokenizer.decode([257, 97, 195, 169, 258])).toBe('<bos>a\u00e9<eos>');
    expect(tokenizer.decode([97, 195])).toBe('a\ufffd');
    expect(tokenizer.decode([97, 300, 98])).toBe('a\ufffdb');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.size).toBe(259);
  });
});

describe('a text stream', () => {
  it('holds a character back until its last byte, and pieces join to the whole text', () => {
    const text = 'na\u00efve \u20ac \u{1f600}!';
    const stream = new TextStream(tokenizer);
    const pieces = tokenizer.encode(text, 'none').map((id) => stream.push(id));
    expect(pieces.slice(0, 4)).toEqual(['n', 'a', '', '\u00ef']);
    expect(pieces.join('') + stream.end()).toBe(text);
  });

  it('gives what is left of a broken character at its end', () => {
    const stream = new TextStream(tokenizer);
    expect([stream.push(97), stream.push(0xe2), stream.push(0x82), stream.end()]).toEqual([
      'a',
      '',
      '',
      '\ufffd',
    ]);
    expect(stream.end()).toBe('');
  });
});

describe('a chat template', () => {
  it('renders messages from chat_template.jinja, which goes before the one in tokenizer_config.json', async () => {
    const folder = await changed({
      'chat_template.jinja': TEMPLATE,
      'tokenizer_config.json': ['chat_template', 'other'],
    });
    const {
      tokens,
      tokenizer: own,
      added,
    } = await promptTokens(folder, { text: 'hi', chat: true, system: 'be' });
    expect(own.decode(tokens)).toBe('<bos>[system]be\n[user]hi\n[model]');
    expect(tokens[0]).toBe(257);
    expect(added).toEqual({ before: [], after: [] });
  });

  it.each([
    ['a text', TEMPLATE],
    [
      'a list with a default',
      [
        { name: 'tool', template: 'x' },
        { name: 'default', template: TEMPLATE },
      ],
    ],
  ])('is read from tokenizer_config.json as %s', async (_what, value) => {
    const folder = await changed({ 'tokenizer_config.json': ['chat_template', value] });
    const { tokens, tokenizer: own } = await promptTokens(folder, { text: 'hi', chat: true });
    expect(own.decode(tokens)).toBe('<bos>[user]hi\n[model]');
  });

  it.each([
    ['raises', "{{ raise_exception('no system role') }}", 'no system role'],
    ['does not parse', '{% for %}', 'an error'],
    ['gives nothing', '{# #}', 'no text'],
  ])('that %s is an error', async (_what, template, got) => {
    const folder = await changed({ 'chat_template.jinja': template });
    await expect(promptTokens(folder, { text: 'hi', chat: true })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining(got),
    });
  });

  it('that is absent is an error', async () => {
    await expect(promptTokens(tiny, { text: 'hi', chat: true })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
    });
  });
});

describe('a prompt', () => {
  it.each([
    ['a system message without a chat', { text: 'hi', system: 'be' }],
    ['no text and no special tokens', { text: '', special: 'none' as const }],
  ])('with %s is refused', async (_what, prompt) => {
    await expect(promptTokens(tiny, prompt)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('a malformed tokenizer', () => {
  it.each<[string, Record<string, string | Patch>]>([
    ['is no JSON', { 'tokenizer.json': '{' }],
    ['is another value', { 'tokenizer.json': '[]' }],
    ['is empty', { 'tokenizer.json': '{}' }],
    ['lacks a model', { 'tokenizer.json': ['model', undefined] }],
    ['lacks added tokens', { 'tokenizer.json': ['added_tokens', undefined] }],
    ['has an added token without id', { 'tokenizer.json': ['added_tokens.0.id', undefined] }],
    ['has a vocabulary of text', { 'tokenizer.json': ['model.vocab', 'abc'] }],
    ['has a negative id', { 'tokenizer.json': ['model.vocab.a', -1] }],
    ['has a huge id', { 'tokenizer.json': ['model.vocab.a', 2 ** 31] }],
    ['has an id twice', { 'tokenizer.json': ['model.vocab.a', 98] }],
    ['has an id for two added tokens', { 'tokenizer.json': ['added_tokens.1.id', 256] }],
    ['has an added token of an id that it would not get', { 'tokenizer.json': ['added_tokens.2.id', 300] }],
    ['has merges that are no list', { 'tokenizer.json': ['model.merges', { a: 'b' }] }],
    ['has a merge of a token that it lacks', { 'tokenizer.json': ['model.merges', ['a b']] }],
    ['has a flag that is none', { 'tokenizer.json': ['added_tokens.0.lstrip', 'yes'] }],
    ['is a unigram model', { 'tokenizer.json': ['model.type', 'Unigram'] }],
    ['has a merge of one token', { 'tokenizer.json': ['model.merges', ['ab']] }],
    ['has a null merge', { 'tokenizer.json': ['model.merges', [null]] }],
    ['has an unknown decoder', { 'tokenizer.json': ['decoder.type', 'Morse'] }],
    ['has an unknown model', { 'tokenizer.json': ['model', { type: 'X', vocab: null }] }],
    ['has a broken config', { 'tokenizer_config.json': '"' }],
    ['has a template of another type', { 'tokenizer_config.json': ['chat_template', 5] }],
  ])('that %s is a BAD_CONFIG that names the file', async (_what, files) => {
    const folder = await changed(files);
    const file = Object.keys(files)[0]!;
    await expect(openTokenizer(folder)).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining(file),
    });
  });

  it('that lacks the token which begins sequences cannot add it', async () => {
    const folder = await changed({ 'tokenizer_config.json': '{}' });
    const own = await openTokenizer(folder);
    expect(() => own.encode('a', 'bos')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });

  it('or none is an IO error', async () => {
    await expect(openTokenizer(await temporaryFolder())).rejects.toMatchObject({ code: 'IO' });
    await expect(openTokenizer(join(tiny, 'absent'))).rejects.toMatchObject({ code: 'IO' });
    await expect(openTokenizer(join(tiny, 'config.json'))).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('stop tokens', () => {
  it('come from generation_config.json, one or several, or else from the config', async () => {
    expect(await folderStopTokens(tiny, 7)).toEqual(new Set([258]));
    const list = await changed({ 'generation_config.json': '{"eos_token_id": [1, 106]}' });
    expect(await folderStopTokens(list, 7)).toEqual(new Set([1, 106]));
    const none = await changed({ 'generation_config.json': '{}' });
    expect(await folderStopTokens(none, [7, 8])).toEqual(new Set([7, 8]));
    expect(await folderStopTokens(await temporaryFolder(), null)).toEqual(new Set());
  });

  it('of another type are refused', async () => {
    const folder = await changed({ 'generation_config.json': '{"eos_token_id": "</s>"}' });
    await expect(folderStopTokens(folder, 7)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  });

  it('of a GGUF file are the ends of sequence, turn and message', () => {
    const id = (value: number) => ({ type: 'u32', value });
    const metadata = { 'tokenizer.ggml.eos_token_id': id(1), 'tokenizer.ggml.eot_token_id': id(106) };
    expect(ggufStopTokens(metadata)).toEqual(new Set([1, 106]));
    expect(ggufStopTokens({})).toEqual(new Set());
  });
});
