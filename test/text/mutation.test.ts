import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { seededIntegers, temporaryFolder } from '../weights/fixtures.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model', 'tokenizer.json');
const PIECES = ['null', '-1', '1e99', '"x"', '[]', '{}', 'true', '"type"', '\\u0000', ',', '}', '"'];

describe('tokenizer.json with mutated bytes', () => {
  it('works or is refused with a code, 1,000 times', async () => {
    const folder = await temporaryFolder();
    const original = readFileSync(tiny, 'utf8');
    const random = seededIntegers(5);
    let refused = 0;
    for (let round = 0; round < 1000; round++) {
      // Most of the file is the vocabulary: the rest is hit on purpose as often.
      const at = random(2) === 0 ? random(original.length) : random(1800);
      const piece = PIECES[random(PIECES.length)]!;
      const text = original.slice(0, at) + piece + original.slice(at + random(12));
      writeFileSync(join(folder, 'tokenizer.json'), text);
      try {
        const tokenizer = await openTokenizer(folder);
        tokenizer.decode(tokenizer.encode('a\u00e9<bos> 1', 'tokenizer'));
      } catch (error) {
        expect(error, `mutation ${round}`).toBeInstanceOf(ZayascopeError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
  });
});
