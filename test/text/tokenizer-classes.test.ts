import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { CLASSES, registeredClass, WRONGLY_NAMED } from '../../src/text/classes/auto-tokenizer.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { type ClassResult, fixture, runClasses } from './tokenizer-classes.js';

/** Without a pipeline of their own. */
const PLAIN = ['TokenizersBackend', 'PythonBackend', null];

describe('the names that AutoTokenizer knows', () => {
  it('has the class of each model type', () => {
    // Those of null need a package that was not installed.
    for (const [type, name] of Object.entries(fixture.types))
      if (name !== null) expect(registeredClass(type), type).toBe(name.replace(/Fast$/, ''));
      else expect(CLASSES.has(registeredClass(type) ?? ''), type).toBe(true);
    expect([...WRONGLY_NAMED].sort()).toEqual(fixture.wrong);
  });

  it('knows which names are classes', () => {
    for (const [name, found] of Object.entries(fixture.classes))
      expect(CLASSES.has(name.replace(/Fast$/, '')), name).toBe(!PLAIN.includes(found));
  });
});

describe('a tokenizer.json under a class gives the ids of transformers or is refused', () => {
  let results: ClassResult[] = [];

  // `npm run test:slow` runs all of them.
  const sample = fixture.cases.filter(
    ({ kind, config, files }, at) =>
      at % 8 === 0 || (files === undefined && Object.keys(config ?? {}).length === 5 && kind !== 'wordpiece'),
  );
  it(`${sample.length} of ${fixture.cases.length} cases`, async () => {
    const made = await runClasses(await temporaryFolder(), sample);
    results = made.results;
    expect(made.wrong).toEqual([]);
  }, 60_000);

  it('reads what is published: the plain class, and each class over its own pipeline', () => {
    const byClass = (pattern: RegExp, kinds: string[]) =>
      results.filter(
        ({ each }) =>
          each.files === undefined &&
          each.config?.split_special_tokens !== true &&
          each.config?.auto_map === undefined &&
          pattern.test(each.class ?? '') &&
          kinds.includes(each.kind),
      );
    const read = [
      ...byClass(/^TokenizersBackend$/, ['gpt-2', 'llama-3', 'qwen2', 'gemma', 'llama', 'metaspace']),
      ...byClass(/^Qwen2|^Qwen3_5|^GPT2|^GPTNeoX|^CodeGen|^Cohere/, ['gpt-2', 'qwen2', 'llama-3', 'cohere']),
      ...byClass(/^(Gemma|Llama)Tokenizer$/, ['gemma', 'llama', 'metaspace']),
    ];
    expect(read.length).toBeGreaterThan(300);
    expect(read.filter(({ made }) => made instanceof ZayascopeError)).toEqual([]);
  });

  it.each([
    [
      'LlamaTokenizerFast',
      'gpt-2',
      /LlamaTokenizer builds whatever the file says, got one of byte-level BPE.*--tokens/,
    ],
    ['Qwen2Tokenizer', 'gemma', /of byte-level BPE, which tokenizer class Qwen2Tokenizer builds.*--tokens/],
    [
      'WhisperTokenizer',
      'gpt-2',
      /WhisperTokenizer, which in transformers builds a pipeline of its own.*--tokens/,
    ],
    ['PreTrainedTokenizerFast', 'unigram', /model.type BPE, the only kind that is supported, got "Unigram"/],
  ])('%s over %s is refused by name', (name, kind, sentence) => {
    const found = results.find(({ each }) => each.kind === kind && each.config?.tokenizer_class === name);
    expect(found?.made).toBeInstanceOf(ZayascopeError);
    expect(String(found?.made)).toMatch(sentence);
  });
});
