/** Tokenizers of many kinds and what transformers makes of 200 texts; `make_tokenizers.py` wrote them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

type Json = Record<string, unknown>;

/** One tokenizer, and the right values of it. */
export interface TokenizerCase {
  base: string;
  json: Json & { model?: Json };
  files: Record<string, Json>;
  /** By text, with special tokens and without. */
  ids: number[][];
  plain: number[][];
  /** Text of `plain`. */
  decoded: string[];
  /** Other ids and their texts. */
  some: number[][];
  someDecoded: string[];
  special: Record<string, string>;
}

const file = join(import.meta.dirname, 'fixtures', 'tokenizers.json.gz');
const all = JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')) as {
  texts: string[];
  bases: Record<string, Json & { model: Json }>;
  kinds: Record<string, TokenizerCase>;
};

export const TEXTS: readonly string[] = all.texts;
export const KINDS: Readonly<Record<string, TokenizerCase>> = all.kinds;

/** Writes the files of a kind into a new folder under `parent` and gives its path. */
export function writeKind(parent: string, name: string, as = name): string {
  const folder = join(parent, as);
  mkdirSync(folder);
  for (const [each, content] of Object.entries({
    'tokenizer.json': tokenizerJson(name),
    ...KINDS[name]!.files,
  }))
    writeFileSync(join(folder, each), JSON.stringify(content));
  return folder;
}

/** The tokenizer.json of a kind. */
export function tokenizerJson(name: string): Json {
  const { base, json } = KINDS[name]!;
  const whole = all.bases[base]!;
  return { ...whole, ...json, model: { ...whole.model, ...json.model } };
}
