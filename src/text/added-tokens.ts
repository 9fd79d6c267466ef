import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';

const OP = 'openTokenizer';
/** Far above every real vocabulary; an id beyond it would only make a huge array. */
const MAX_ID = 2 ** 24;
const FLAGS = ['single_word', 'lstrip', 'rstrip', 'normalized', 'special'] as const;

/** A token that is found in a text as it is spelled, before the text is cut into others. */
export interface AddedToken {
  id: number;
  content: string;
  /** Only between characters that are no letters. */
  single_word: boolean;
  /** Takes the blanks before, or after, it along. */
  lstrip: boolean;
  rstrip: boolean;
  /** Looked for in the text as the normalizer leaves it. */
  normalized: boolean;
  special: boolean;
}

/** Added tokens beside a vocabulary, numbered as Hugging Face's `tokenizers` numbers them. */
export class AddedTokens {
  readonly list: AddedToken[] = [];
  readonly #ids = new Map<string, number>();
  readonly #vocabulary: ReadonlyMap<string, number>;
  #largest = -1;

  constructor(vocabulary: ReadonlyMap<string, number>) {
    this.#vocabulary = vocabulary;
  }

  /** The id of a token; undefined where there is none. */
  idOf(content: string): number | undefined {
    return this.#ids.get(content) ?? this.#vocabulary.get(content);
  }

  /** Adds a token, which has the vocabulary's id or the next free one. One that is there gets its flags. */
  add(token: Omit<AddedToken, 'id'>): number {
    const known = this.#ids.get(token.content);
    if (known !== undefined) {
      const at = this.list.findIndex(({ content }) => content === token.content);
      this.list[at] = { id: known, ...token };
      return known;
    }
    const id = this.#vocabulary.get(token.content) ?? Math.max(this.#largest + 1, this.#vocabulary.size);
    this.#ids.set(token.content, id);
    this.list.push({ id, ...token });
    this.#largest = Math.max(this.#largest, id);
    return id;
  }
}

/** Vocabularies by the `model` that they were read from: checking one of 262,144 tokens takes a while. */
const read = new WeakMap<object, Map<string, number>>();

/**
 * The vocabulary and added tokens of a tokenizer.json, checked.
 *
 * @throws `BAD_CONFIG` for what is malformed, for an id given twice, and for an added token whose id
 * `tokenizers` would replace by another.
 */
export function readTokens(
  json: Record<string, unknown>,
  source: string,
): { vocabulary: Map<string, number>; added: AddedTokens } {
  const known = typeof json.model === 'object' && json.model !== null ? read.get(json.model) : undefined;
  const vocabulary = known ?? readVocabulary(json.model, source);
  read.set(json.model as object, vocabulary);
  const taken = new Map([...vocabulary].map(([token, id]) => [id, token]));
  if (taken.size !== vocabulary.size) throw bad('each token id once in model.vocab', 'one twice', source);
  const { added_tokens: listed } = json;
  if (!Array.isArray(listed)) throw bad('a list added_tokens', describeValue(listed), source);
  const added = new AddedTokens(vocabulary);
  for (const value of listed) {
    const { id, ...token } = readAddedToken(value, source);
    const given = added.add(token);
    if (given !== id)
      throw bad(
        'added tokens with the ids that Hugging Face gives them',
        `${id} for ${describeValue(token.content)}, which it numbers ${given}`,
        source,
      );
    const other = taken.get(given);
    if (other !== undefined && other !== token.content)
      throw bad(
        'each token id once',
        `${given} for ${describeValue(other)} and ${describeValue(token.content)}`,
        source,
      );
    taken.set(given, token.content);
  }
  return { vocabulary, added };
}

function readVocabulary(model: unknown, source: string): Map<string, number> {
  if (typeof model !== 'object' || model === null || Array.isArray(model))
    throw bad('an object model', describeValue(model), source);
  const { type, vocab, merges } = model as Record<string, unknown>;
  if (type !== undefined && type !== 'BPE')
    throw bad('model.type BPE, the only kind that is supported', describeValue(type), source);
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab))
    throw bad('a vocabulary in model.vocab', describeValue(vocab), source);
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) throw bad('token ids in model.vocab', describeValue(id), source);
    vocabulary.set(token, id as number);
  }
  if (!Array.isArray(merges))
    throw bad('a list model.merges of pairs of tokens', describeValue(merges), source);
  for (const merge of merges) {
    const pair = mergePair(merge);
    if (pair === undefined) throw bad('model.merges of pairs of tokens', describeValue(merge), source);
    const missing = [...pair, pair.join('')].find((token) => !vocabulary.has(token));
    if (missing !== undefined)
      throw bad(
        'model.merges of tokens in model.vocab',
        `${describeValue(missing)}, which is not there`,
        source,
      );
  }
  return vocabulary;
}

/**
 * The two tokens of a merge, which an old file has as text with a blank between; undefined for anything else.
 */
export function mergePair(merge: unknown): readonly [string, string] | undefined {
  const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
  if (!Array.isArray(parts) || parts.length !== 2) return undefined;
  return parts.every((part) => typeof part === 'string') ? (parts as [string, string]) : undefined;
}

/** An entry of `added_tokens`, with the defaults of its flags. */
function readAddedToken(value: unknown, source: string): AddedToken {
  const { id } = (typeof value === 'object' && value !== null ? value : {}) as { id?: unknown };
  if (!isId(id)) throw bad('a list added_tokens with content and id', describeValue(value), source);
  return { id: id as number, ...addedToken(value, source) };
}

/** A token as files spell it: a text, or an object with `content` and flags. Throws `BAD_CONFIG`. */
export function addedToken(value: unknown, source: string, isSpecial = false): Omit<AddedToken, 'id'> {
  const object = typeof value === 'string' ? { content: value } : value;
  const { content } = (typeof object === 'object' && object !== null ? object : {}) as { content?: unknown };
  if (typeof content !== 'string' || content === '')
    throw bad('tokens with a text', describeValue(value), source);
  const flags = object as Record<string, unknown>;
  for (const name of FLAGS)
    if (flags[name] !== undefined && typeof flags[name] !== 'boolean')
      throw bad(`true or false as ${name} of ${describeValue(content)}`, describeValue(flags[name]), source);
  const special = flags.special === true || isSpecial;
  return {
    content,
    single_word: flags.single_word === true,
    lstrip: flags.lstrip === true,
    rstrip: flags.rstrip === true,
    normalized: (flags.normalized as boolean | undefined) ?? !special,
    special,
  };
}

function isId(id: unknown): boolean {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_ID;
}

function bad(expected: string, got: string, source: string): ZayascopeError {
  return new ZayascopeError('BAD_CONFIG', `${OP}: expected ${expected}, got ${got} (${source})`, {
    op: OP,
    tensor: source,
  });
}
