import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import type { ChatMessage } from '../../src/text/chat-template.js';
import { convertTokenizer } from '../../src/text/gguf/convert-tokenizer.js';
import { ggufTokenizer } from '../../src/text/gguf/read-tokenizer.js';
import { openTokenizer } from '../../src/text/tokenizer.js';
import { pythonJson } from '../reference/python.js';
import { seededIntegers, temporaryFolder } from '../weights/fixtures.js';
import { writeMutant } from './mutants.js';

/**
 * Outcomes of the first mutants of this seed; others are asked of transformers:
 * `ZAYASCOPE_MUTANTS=2000 ZAYASCOPE_SEED=5`.
 */
const FIXTURE = join(import.meta.dirname, 'fixtures', 'mutants.json.gz');
const SEED = Number(process.env.ZAYASCOPE_SEED ?? 17);
const asked = process.env.ZAYASCOPE_MUTANTS;
const stored = asked === undefined ? outcomes(readFileSync(FIXTURE)) : undefined;
const COUNT = stored?.length ?? Number(asked);
const TEXTS = [
  '',
  'the model  runs\n\na <td>x',
  '<bos>Gr\u00fc\u00dfe word 12\u00b2 XYZ',
  '\u2581x a b<L> \u540d\u524d\ufeff',
];
const CHAT: ChatMessage[] = [
  { role: 'system', content: ' be kind' },
  { role: 'user', content: "it's" },
];

function outcomes(bytes: Uint8Array): Outcome[] {
  return JSON.parse(gunzipSync(bytes).toString('utf8')) as Outcome[];
}

/** Runs and gives the value, or undefined where a `ZayascopeError` says why not. */
function attempt<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch (error) {
    if (error instanceof ZayascopeError) return undefined;
    throw error;
  }
}

interface Outcome {
  ids?: number[][];
  text?: string | null;
  error?: string;
}

describe('a tokenizer with a mutated file', () => {
  it(`gives what transformers gives or is refused with a code, ${COUNT} times`, {
    timeout: 600_000,
  }, async () => {
    const parent = await temporaryFolder();
    const random = seededIntegers(SEED);
    const folders = Array.from({ length: COUNT }, (_, at) => writeMutant(parent, `m${at}`, random));
    const input = JSON.stringify({ folders, texts: TEXTS, chat: CHAT });
    const expected = stored ?? pythonJson<Outcome[]>(['test/text/read_mutants.py'], input);
    if (process.env.ZAYASCOPE_WRITE === '1') writeFileSync(FIXTURE, gzipSync(JSON.stringify(expected)));
    let agreed = 0;
    for (const [at, folder] of folders.entries()) {
      const tokenizer = await openTokenizer(folder).catch((error: unknown) => {
        if (error instanceof ZayascopeError) return undefined;
        throw error;
      });
      if (tokenizer === undefined) continue;
      const right = expected[at]!;
      for (const [index, text] of TEXTS.entries()) {
        const ids = attempt(() => tokenizer.encode(text, 'tokenizer'));
        // What transformers refuses has no right value.
        if (ids === undefined || right.ids === undefined) continue;
        expect(ids, `${folder}: ${JSON.stringify(text)}`).toEqual(right.ids[index]);
        agreed++;
      }
      const converted = await convertTokenizer(folder).catch((error: unknown) => {
        if (error instanceof ZayascopeError) return undefined;
        throw error;
      });
      if (converted?.notes.length === 0) {
        const embedded = ggufTokenizer(converted.metadata, folder);
        for (const text of TEXTS)
          expect(
            attempt(() => embedded.encode(text, 'tokenizer')),
            `${folder}: ${JSON.stringify(text)}`,
          ).toEqual(attempt(() => tokenizer.encode(text, 'tokenizer')));
      }
      const text = attempt(() => tokenizer.renderChat(CHAT));
      if (text !== undefined && typeof right.text === 'string') expect(text, folder).toBe(right.text);
    }
    expect(agreed).toBeGreaterThan(COUNT);
  });
});
