import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTokens, readSequences, readTokenFile } from '../../src/cli/options/tokens.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-tokens-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, 'tokens');
  writeFileSync(path, text);
  return path;
}

describe('token ids', () => {
  it.each([
    ['5,17,9', [5, 17, 9]],
    [' 5  17\n9\n', [5, 17, 9]],
    ['5, 17,\n9,', [5, 17, 9]],
    ['0', [0]],
  ])('are read from %j', (text, tokens) => {
    expect(parseTokens(text, '--tokens')).toEqual(tokens);
  });

  it.each([
    ['', 'none'],
    [' , ', 'none'],
    ['5,-1', '"-1" at position 1'],
    ['5,x', '"x" at position 1'],
    ['5,,7', 'a comma without an id before it'],
    ['1.5', '"1.5" at position 0'],
    ['0x10', '"0x10" at position 0'],
    ['4294967296', '4294967296 at position 0'],
  ])('are refused in %j, naming %s', (text, got) => {
    expect(() => parseTokens(text, '--tokens')).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT', message: expect.stringContaining(`got ${got}`) }),
    );
  });

  it.each([
    ['integers', '5 17\n9\n'],
    ['a JSON array', '[5, 17, 9]'],
    ['a JSON object with tokens', '{"text": "abc", "tokens": [5, 17, 9]}'],
  ])('are read from a file with %s', async (_what, text) => {
    expect(await readTokenFile(file(text))).toEqual([5, 17, 9]);
  });

  it.each([
    ['one sequence as a JSON array', '[5, 17]', [[5, 17]]],
    ['one sequence as an object', '{"tokens": [5, 17]}', [[5, 17]]],
    ['one sequence as integers', '5 17', [[5, 17]]],
    ['an array of arrays', '[[5, 17], [9]]', [[5, 17], [9]]],
    ['an array of one array', '[[5, 17]]', [[5, 17]]],
    ['an object with sequences', '{"sequences": [[5, 17], [9]]}', [[5, 17], [9]]],
  ])('are read as sequences from a file with %s', async (_what, text, sequences) => {
    expect(await readSequences(file(text))).toEqual(sequences);
  });

  it.each([
    ['a number beside arrays', '[[5], 17]', '17 as sequence 1'],
    ['an array beside numbers', '[5, [17]]', '5 as sequence 0'],
    ['an empty sequence', '[[5], []]', 'none (sequence 1 of'],
    ['a string in a sequence', '[[5], [1, "x"]]', '"x" at position 1 (sequence 1 of'],
    ['no sequences', '{"sequences": []}', 'none'],
    ['flat sequences', '{"sequences": [5]}', '5 as sequence 0'],
    ['deeper arrays', '[[[5]]]', '[5] at position 0 (sequence 0 of'],
    ['tokens and sequences', '{"tokens": [5], "sequences": [[5]]}', 'an object with tokens and sequences'],
  ])('are refused as sequences in a file with %s', async (_what, text, got) => {
    await expect(readSequences(file(text))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining(`got ${got}`),
    });
  });

  it('of several sequences are refused where one is wanted', async () => {
    expect(await readTokenFile(file('[[5, 17]]'))).toEqual([5, 17]);
    await expect(readTokenFile(file('[[5, 17], [9]]'))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('expected a single sequence of token ids, got 2'),
    });
  });

  it.each([
    ['broken JSON', '[5, 17', 'a syntax error'],
    ['tokens twice', '{"tokens": [5], "tokens": [6]}', 'the key "tokens" twice'],
    ['deep nesting', `{"tokens": [5], "x": ${'['.repeat(40)}${']'.repeat(40)}}`, 'nesting deeper than 32'],
    ['a JSON object without tokens', '{"text": "abc"}', 'none of these'],
    ['strings', '["5"]', '"5" at position 0'],
    ['fractions', '[1, 2.5]', '2.5 at position 1'],
    ['nothing', '', 'none'],
    ['an empty array', '[]', 'none'],
  ])('are refused in a file with %s', async (_what, text, got) => {
    await expect(readTokenFile(file(text))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining(`got ${got}`),
    });
  });

  it('are what a tokenizer of transformers gives, unless some are padding', async () => {
    expect(await readSequences(file('{"input_ids": [5, 17], "attention_mask": [1, 1]}'))).toEqual([[5, 17]]);
    expect(await readSequences(file('{"input_ids": [[5, 17], [9]]}'))).toEqual([[5, 17], [9]]);
    await expect(
      readSequences(file('{"input_ids": [[0, 17]], "attention_mask": [[0, 1]]}')),
    ).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('one that masks tokens'),
    });
  });

  it('are I32 where a file is no text, and no other format', async () => {
    const binary = file('');
    writeFileSync(binary, new Uint8Array(Int32Array.of(5, 17, 258).buffer));
    expect(await readTokenFile(binary)).toEqual([5, 17, 258]);
    writeFileSync(binary, new Uint8Array(Int32Array.of(5, -1).buffer));
    await expect(readTokenFile(binary)).rejects.toMatchObject({
      message: expect.stringContaining('-1 at position 1'),
    });
    writeFileSync(binary, Buffer.from('1f8b08000000000000031234', 'hex'));
    await expect(readTokenFile(binary)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('got a gzip file; unpack it with gunzip'),
    });
  });

  it('are refused in a sentence where arrays are nested without end', async () => {
    await expect(readTokenFile(file(`[${'['.repeat(20_000)}${']'.repeat(20_000)}]`))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('are refused in a file that is absent', async () => {
    await expect(readTokenFile(join(folder, 'absent'))).rejects.toMatchObject({ code: 'IO' });
  });
});
