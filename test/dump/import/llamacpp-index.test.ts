import { describe, expect, it } from 'vitest';
import { parseLlamacppIndex } from '../../../src/dump/import/llamacpp-index.js';

const HEAD = '{"format":"zayascope-llamacpp","version":1}\n';
const BATCH = '{"position":0,"tokens":[1,2]}\n{"graph":0,"rows":2}\n';
const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;

describe('a line of the index of a llama.cpp port', () => {
  it.each([
    ['{"unknown":{"toString":1}}', 'line 4 of index: expected a line of a known kind, got keys unknown'],
    ['{"name":"a","graph":{"toString":1},"type":"F32","ne":[1],"offset":0}', 'graph an object'],
    ['{"graph":{"toString":1},"rows":2}', 'graph an object'],
    ['{"tokens":{"toString":1}}', 'expected token ids, got an object'],
    [`{"unknown":${deep}}`, 'nested at most 32 deep'],
    [`{"tokens":${deep}}`, 'nested at most 32 deep'],
    ['{"name":"a","name":"b","graph":0,"type":"F32","ne":[1],"offset":0}', 'the key "name" twice'],
    ['7', 'expected a JSON object, got 7'],
  ])('%.60s is refused with a sentence', (line, message) => {
    let error: unknown;
    try {
      parseLlamacppIndex(`${HEAD}${BATCH}${line}\n`, 'index');
    } catch (cause) {
      error = cause;
    }
    expect(error).toMatchObject({ code: 'BAD_DUMP' });
    const text = (error as Error).message;
    expect(text).toContain('line 4 of index');
    for (const part of message.split('line 4 of index: ')) expect(text).toContain(part);
    expect(text.length).toBeLessThan(300);
  });

  it('that is the first may not be of another format', () => {
    expect(() => parseLlamacppIndex('{"format":{"toString":1},"version":1}\n', 'index')).toThrow(
      /expected format zayascope-llamacpp, version 1, got an object, 1/,
    );
  });
});
