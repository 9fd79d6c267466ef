/**
 * AutoTokenizer over tokenizer.json files of many kinds; `make_tokenizer_classes.py` wrote what it makes of
 * them.
 */
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ZayascopeError } from '../../src/errors.js';
import { openTokenizer } from '../../src/text/tokenizer.js';

type Json = Record<string, unknown>;
export interface ClassCase {
  kind: string;
  config: Json | null;
  model: Json | null;
  files?: Record<string, Json>;
  /** The class that transformers took. */
  class?: string;
  /** Its row; null where it fails. */
  ids: number | null;
}

/** What `make_tokenizer_classes.py` wrote of AutoTokenizer. */
export const fixture = JSON.parse(
  gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', 'tokenizer-classes.json.gz'))).toString(),
) as {
  types: Record<string, string | null>;
  wrong: string[];
  classes: Record<string, string | null>;
  texts: string[];
  kinds: Record<string, Json>;
  rows: { ids: number[][]; plain: number[][]; decoded: string[] }[];
  cases: ClassCase[];
};

const ours = async (folder: string) => {
  try {
    const tokenizer = await openTokenizer(folder);
    const ids = fixture.texts.map((text) => tokenizer.encode(text, 'tokenizer'));
    const plain = fixture.texts.map((text) => tokenizer.encode(text, 'none'));
    return { ids, plain, decoded: plain.map((each) => tokenizer.decode(each)) };
  } catch (error) {
    if (error instanceof ZayascopeError) return error;
    throw error;
  }
};

export interface ClassResult {
  each: ClassCase;
  made: Awaited<ReturnType<typeof ours>>;
}

/** What ours makes of some cases; `wrong` those that give something else than transformers. */
export async function runClasses(
  root: string,
  cases: readonly ClassCase[],
): Promise<{ results: ClassResult[]; wrong: string[] }> {
  const results: ClassResult[] = [];
  for (const [name, json] of Object.entries(fixture.kinds))
    writeFileSync(join(root, `${name}.json`), JSON.stringify(json));
  const wrong: string[] = [];
  for (const [at, each] of cases.entries()) {
    const folder = join(root, String(at));
    mkdirSync(folder);
    linkSync(join(root, `${each.kind}.json`), join(folder, 'tokenizer.json'));
    const files = { 'tokenizer_config.json': each.config, 'config.json': each.model, ...each.files };
    for (const [name, content] of Object.entries(files))
      if (content !== null) writeFileSync(join(folder, name), JSON.stringify(content));
    const made = await ours(folder);
    results.push({ each, made });
    if (made instanceof ZayascopeError) continue;
    const right = each.ids === null ? 'an error' : fixture.rows[each.ids];
    if (JSON.stringify(made) !== JSON.stringify(right))
      wrong.push(`${each.class} ${JSON.stringify({ ...each, ids: 0 })}`);
  }
  return { results, wrong };
}
