/**
 * Seeded changes of the files of a tokenizer, most of them where its meaning stands and not in the
 * vocabulary.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeKind } from './tokenizer-kinds.js';

type Random = (below: number) => number;

const BASES = [
  'gemma',
  'flags',
  'llama-bpe',
  'metaspace-split',
  'added-decoder',
  'no-config-bos',
  'lower',
  'split-runs',
];
const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '[' + m.role + ']' }}{{ m['content'] | trim }}{% if not loop.last %}\n{% endif %}{{ {'a': [1.5, true, none]} }}{% endfor %}{% if add_generation_prompt %}[model]{% endif %}";
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  5,
  -1,
  1.5,
  1e12,
  '',
  'x',
  '<bos>',
  '\u2581',
  ' ',
  [],
  {},
  ['a'],
  [['a', 'b']],
  { type: 'ByteLevel' },
  { type: 'Nothing' },
  { String: 'a' },
  { Regex: '(' },
  { Regex: '\\s+' },
  'Removed',
  'MergedWithNext',
  'first',
  'never',
  JSON.parse('['.repeat(200) + ']'.repeat(200)),
];
const PIECES = [
  '{{',
  '}}',
  '{%',
  '%}',
  ' m',
  ' ',
  '\r\n',
  "'",
  '|',
  'tojson',
  'nothing',
  '[',
  ']',
  '(',
  '-',
  '.x',
  '0',
  'none',
  '{#',
  'if',
  ' is string',
  '~',
  '"',
  '\u0000',
];

/** Writes a mutant into a new folder under `parent`. */
export function writeMutant(parent: string, name: string, random: Random): string {
  const kind = BASES[random(BASES.length)]!;
  const folder = writeKind(parent, kind, name);
  let template = TEMPLATE;
  const which = random(10);
  if (which < 6) change(join(folder, 'tokenizer.json'), random);
  else if (which < 8) change(join(folder, 'tokenizer_config.json'), random);
  else {
    const at = random(template.length);
    template = template.slice(0, at) + PIECES[random(PIECES.length)] + template.slice(at + random(4));
  }
  writeFileSync(join(folder, 'chat_template.jinja'), template);
  return folder;
}

/** Replaces, removes or doubles one value of a JSON file. */
function change(file: string, random: Random): void {
  const json = JSON.parse(readFileSync(file, 'utf8')) as unknown;
  let parent: unknown;
  let key: string | number = '';
  let value: unknown = json;
  for (let depth = 0; depth < 1 + random(6) && typeof value === 'object' && value !== null; depth++) {
    const keys = Object.keys(value);
    // A vocabulary is long and of one kind: its first entries stand for all.
    const next = keys[random(Math.min(keys.length, 12))];
    if (next === undefined) break;
    parent = value;
    key = Array.isArray(value) ? Number(next) : next;
    value = (value as Record<string | number, unknown>)[key];
  }
  const holder = parent as Record<string | number, unknown>;
  const how = random(8);
  if (how === 0 && Array.isArray(parent)) parent.push(structuredClone(value));
  else if (how === 1 && Array.isArray(parent)) parent.splice(key as number, 1);
  else if (how <= 1) delete holder[key];
  else holder[key] = VALUES[random(VALUES.length)];
  writeFileSync(file, JSON.stringify(json));
}
