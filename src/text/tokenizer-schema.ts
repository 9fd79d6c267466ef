/**
 * Is a tokenizer.json one that Hugging Face's `tokenizers` reads? Its types are those of its Rust structures:
 * what it refuses nobody else has read, so that a file which it refuses is damaged, also where the damaged
 * field changes no id.
 * https://github.com/huggingface/tokenizers/blob/v0.22.1/tokenizers/src/tokenizer/serialization.rs
 */

import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';

type Fields = Readonly<Record<string, unknown>>;

const KEYS = [
  'version',
  'truncation',
  'padding',
  'added_tokens',
  'normalizer',
  'pre_tokenizer',
  'post_processor',
  'decoder',
  'model',
];
const FLAGS = ['single_word', 'lstrip', 'rstrip', 'normalized', 'special'];
/** Flags that a step has, by its type; those with a question mark may be absent. */
const STEP_FLAGS: Readonly<Record<string, readonly string[]>> = {
  ByteLevel: ['add_prefix_space', 'trim_offsets', 'use_regex?'],
  Digits: ['individual_digits'],
  Split: ['invert'],
};
/** What a BPE model's fields are; each may be null or absent. */
const BPE_FIELDS: Readonly<Record<string, 'text' | 'flag'>> = {
  unk_token: 'text',
  continuing_subword_prefix: 'text',
  end_of_word_suffix: 'text',
  fuse_unk: 'flag',
  byte_fallback: 'flag',
  ignore_merges: 'flag',
};
const STEPS = ['pre_tokenizer', 'post_processor', 'decoder'];
const NESTED = ['pretokenizers', 'processors', 'decoders'];

/** Throws `BAD_CONFIG` naming the field at fault. */
export function checkTokenizerJson(json: Fields, source: string): void {
  for (const key of Object.keys(json))
    check(KEYS.includes(key), `keys among ${KEYS.join(', ')}`, key, source);
  const { version = '1.0', truncation = null, padding = null } = json;
  check(version === '1.0', 'version "1.0"', version, source);
  if (truncation !== null) checkTruncation(truncation, source);
  if (padding !== null) checkPadding(padding, source);
  for (const token of listOf(json.added_tokens ?? [], 'added_tokens', source)) {
    const fields = fieldsOf(token, 'an added token', source);
    for (const flag of FLAGS)
      check(
        typeof fields[flag] === 'boolean',
        `true or false as ${flag} of each added token`,
        fields[flag],
        source,
      );
  }
  for (const step of STEPS) checkStep(json[step] ?? null, step, source);
  checkModel(fieldsOf(json.model, 'model', source), source);
}

/** Other types than BPE are refused where the model is made. */
function checkModel(model: Fields, source: string): void {
  if (model.type !== undefined && model.type !== 'BPE') return;
  for (const [name, kind] of Object.entries(BPE_FIELDS)) {
    const value = model[name] ?? null;
    const [type, words] = kind === 'text' ? ['string', 'a text'] : ['boolean', 'true or false'];
    check(value === null || typeof value === type, `${words} or null as ${name} of BPE`, value, source);
  }
  const dropout = model.dropout ?? null;
  const isShare = typeof dropout === 'number' && dropout >= 0 && dropout <= 1;
  check(dropout === null || isShare, 'a number from 0 to 1 or null as dropout of BPE', dropout, source);
}

function checkTruncation(value: unknown, source: string): void {
  const fields = fieldsOf(value, 'truncation', source);
  const { direction = 'Right', max_length: length, strategy, stride } = fields;
  check(isOneOf(direction, ['Left', 'Right']), 'Left or Right as direction of truncation', direction, source);
  check(isCount(length), 'a count as max_length of truncation', length, source);
  const strategies = ['LongestFirst', 'OnlyFirst', 'OnlySecond'];
  check(
    isOneOf(strategy, strategies),
    `strategy of truncation among ${strategies.join(', ')}`,
    strategy,
    source,
  );
  check(isCount(stride), 'a count as stride of truncation', stride, source);
}

function checkPadding(value: unknown, source: string): void {
  const fields = fieldsOf(value, 'padding', source);
  const {
    strategy,
    direction,
    pad_to_multiple_of: multiple = null,
    pad_id: id,
    pad_type_id: type,
    pad_token: token,
  } = fields;
  const isFixed =
    typeof strategy === 'object' && strategy !== null && isCount((strategy as { Fixed?: unknown }).Fixed);
  check(
    strategy === 'BatchLongest' || isFixed,
    'BatchLongest or Fixed as strategy of padding',
    strategy,
    source,
  );
  check(isOneOf(direction, ['Left', 'Right']), 'Left or Right as direction of padding', direction, source);
  check(multiple === null || isCount(multiple), 'a count as pad_to_multiple_of', multiple, source);
  check(isId(id), 'an id of 32 bits as pad_id', id, source);
  check(isId(type), 'an id of 32 bits as pad_type_id', type, source);
  check(typeof token === 'string', 'a text as pad_token', token, source);
}

function checkStep(value: unknown, what: string, source: string): void {
  if (value === null) return;
  const fields = fieldsOf(value, what, source);
  const { type } = fields;
  for (const flag of (Object.hasOwn(STEP_FLAGS, String(type)) ? STEP_FLAGS[String(type)] : undefined) ?? []) {
    const name = flag.replace('?', '');
    const isAbsent = flag !== name && fields[name] === undefined;
    check(
      isAbsent || typeof fields[name] === 'boolean',
      `true or false as ${name} of ${type}`,
      fields[name],
      source,
    );
  }
  if (type === 'TemplateProcessing') checkTemplate(fields, source);
  if (type === 'Sequence')
    for (const name of NESTED)
      for (const step of Array.isArray(fields[name]) ? fields[name] : []) checkStep(step, what, source);
}

function checkTemplate(fields: Fields, source: string): void {
  for (const name of ['single', 'pair'])
    for (const piece of listOf(fields[name], `${name} of TemplateProcessing`, source)) {
      const kinds = Object.entries(fieldsOf(piece, `a piece of ${name}`, source));
      const [kind, about] = kinds[0] ?? [];
      const { id, type_id: type } = fieldsOf(about, `a piece of ${name}`, source);
      const isKnown =
        kind === 'Sequence' ? isOneOf(id, ['A', 'B']) : kind === 'SpecialToken' && typeof id === 'string';
      check(
        kinds.length === 1 && isKnown && isId(type),
        `Sequence or SpecialToken with id and type_id in ${name}`,
        piece,
        source,
      );
    }
  for (const [name, token] of Object.entries(fieldsOf(fields.special_tokens, 'special_tokens', source))) {
    const { id, ids, tokens } = fieldsOf(token, `special token ${name}`, source);
    const isWhole =
      typeof id === 'string' &&
      listOf(ids, `ids of ${name}`, source).every(isId) &&
      listOf(tokens, `tokens of ${name}`, source).every((text) => typeof text === 'string') &&
      (ids as unknown[]).length === (tokens as unknown[]).length;
    check(isWhole, `id, and as many ids as tokens, of special token ${name}`, token, source);
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The library's ids have 32 bits, its counts 64. */
function isId(value: unknown): boolean {
  return isCount(value) && (value as number) < 2 ** 32;
}

function isOneOf(value: unknown, names: readonly string[]): boolean {
  return names.includes(value as string);
}

function listOf(value: unknown, what: string, source: string): readonly unknown[] {
  check(Array.isArray(value), `a list as ${what}`, value, source);
  return value as unknown[];
}

function fieldsOf(value: unknown, what: string, source: string): Fields {
  check(
    typeof value === 'object' && value !== null && !Array.isArray(value),
    `an object as ${what}`,
    value,
    source,
  );
  return value as Fields;
}

function check(holds: boolean, expected: string, got: unknown, source: string): void {
  if (holds) return;
  throw new ZayascopeError(
    'BAD_CONFIG',
    `openTokenizer: expected ${expected}, got ${describeValue(got)} (${source})`,
    { op: 'openTokenizer', tensor: source },
  );
}
