import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTokens, readTokens } from '../../src/cli/tokens.js';

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
    expect(await readTokens(file(text))).toEqual([5, 17, 9]);
  });

  it.each([
    ['broken JSON', '[5, 17', 'a syntax error'],
    ['a JSON object without tokens', '{"text": "abc"}', 'neither'],
    ['strings', '["5"]', '"5" at position 0'],
    ['fractions', '[1, 2.5]', '2.5 at position 1'],
    ['nested arrays', '[[1, 2]]', '[1,2] at position 0'],
    ['nothing', '', 'none'],
    ['an empty array', '[]', 'none'],
  ])('are refused in a file with %s', async (_what, text, got) => {
    await expect(readTokens(file(text))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining(`got ${got}`),
    });
  });

  it('are refused in a file that is absent', async () => {
    await expect(readTokens(join(folder, 'absent'))).rejects.toMatchObject({ code: 'IO' });
  });
});
