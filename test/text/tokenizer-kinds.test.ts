import { describe, expect, it } from 'vitest';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { KINDS, TEXTS, writeKind } from './tokenizer-kinds.js';

describe('a tokenizer gives the ids and texts that transformers gives', () => {
  it.each(Object.keys(KINDS))('%s', async (name) => {
    const tokenizer = await openTokenizer(writeKind(await temporaryFolder(), name));
    const { ids, plain, decoded, some, someDecoded } = KINDS[name]!;
    for (const [at, text] of TEXTS.entries()) {
      expect(tokenizer.encode(text, 'tokenizer'), JSON.stringify(text)).toEqual(ids[at]);
      expect(tokenizer.encode(text, 'none'), JSON.stringify(text)).toEqual(plain[at]);
      expect(tokenizer.decode(plain[at]!), JSON.stringify(text)).toBe(decoded[at]);
    }
    // transformers leaves out ids without a token; here they show as U+FFFD.
    for (const [at, each] of some.entries())
      if (each.every((id) => id < tokenizer.size))
        expect(tokenizer.decode(each), JSON.stringify(each)).toBe(someDecoded[at]);
  });
});
