import { Tokenizer } from '@huggingface/tokenizers';
import { ZayascopeError } from '../errors.js';
import { describeValue } from '../weights/describe-value.js';
import { renderChatTemplate } from './chat-template.js';
import type { TextTokenizer } from './tokenizer.js';

const OP = 'openTokenizer';
/** Far above every real vocabulary; an id beyond it would only make a huge array. */
const MAX_ID = 2 ** 24;
const REPLACEMENT = '\u{fffd}';

/** What `@huggingface/tokenizers` is used for here; its own declarations do not resolve under `nodenext`. */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  id_to_token(id: number): string | undefined;
  token_to_id(token: string): number | undefined;
}

/** What makes a tokenizer, in the form of the files of a transformers folder. */
export interface TokenizerDefinition {
  /** The object in `tokenizer.json`. */
  json: Record<string, unknown>;
  /** The object in `tokenizer_config.json`. */
  config: Record<string, unknown>;
  /** Texts of the special tokens that templates may use, by name: `bos_token`, `eos_token`, ... */
  specialTexts: Readonly<Record<string, string>>;
  chatTemplate: string | undefined;
  /** The file it came from. */
  source: string;
}

/** Builds the tokenizer. Throws `BAD_CONFIG` for a definition that is malformed or that the library does not support. */
export function libraryTokenizer(definition: TokenizerDefinition): TextTokenizer {
  const { json, config, specialTexts, chatTemplate, source } = definition;
  const size = checkIds(json, source);
  const library = guard(source, () => new Tokenizer(json, config) as LibraryTokenizer);
  const bos = specialTexts.bos_token;
  const bosToken = bos === undefined ? undefined : library.token_to_id(bos);
  return {
    source,
    size,
    bosToken,
    hasChatTemplate: chatTemplate !== undefined,
    encode(text, special) {
      const options = { add_special_tokens: special === 'tokenizer' };
      const ids = guard(source, () => library.encode(text, options).ids);
      if (ids.some((id) => id === undefined))
        throw bad('BAD_ARGUMENT', 'text that the vocabulary covers', 'a character without a token', source);
      if (special !== 'bos') return ids as number[];
      if (bosToken === undefined)
        throw bad('BAD_ARGUMENT', 'a token that begins sequences', 'a tokenizer without', source);
      return ids[0] === bosToken ? (ids as number[]) : [bosToken, ...(ids as number[])];
    },
    decode: (ids) => decodeKnown(library, ids, source),
    renderChat(messages) {
      if (chatTemplate === undefined)
        throw bad('BAD_CONFIG', 'a chat template', 'a tokenizer without', source);
      return renderChatTemplate(chatTemplate, messages, specialTexts, source);
    },
  };
}

/** The library fails on ids without a token, so runs of the others are decoded alone. */
function decodeKnown(library: LibraryTokenizer, ids: readonly number[], source: string): string {
  const options = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
  let text = '';
  for (let start = 0; start < ids.length; ) {
    let end = start;
    while (end < ids.length && library.id_to_token(ids[end]!) !== undefined) end++;
    if (end > start) {
      const run = ids.slice(start, end);
      text += guard(source, () => library.decode(run, options));
    } else {
      text += REPLACEMENT;
      end++;
    }
    start = end;
  }
  return text;
}

/** Checks what the library takes on trust, and gives one more than the largest id. */
function checkIds(json: Record<string, unknown>, source: string): number {
  const { model, added_tokens: added } = json;
  if (typeof model !== 'object' || model === null || Array.isArray(model))
    throw bad('BAD_CONFIG', 'an object model', describeValue(model), source);
  const { vocab, merges } = model as Record<string, unknown>;
  if (typeof vocab !== 'object' || vocab === null)
    throw bad('BAD_CONFIG', 'a vocabulary in model.vocab', describeValue(vocab), source);
  if (merges !== undefined && !(Array.isArray(merges) && merges.every(isMerge)))
    throw bad('BAD_CONFIG', 'model.merges of pairs of tokens', describeValue(merges), source);
  if (!Array.isArray(added) || !added.every(isAddedToken))
    throw bad('BAD_CONFIG', 'a list added_tokens with content and id', describeValue(added), source);
  const ids = Array.isArray(vocab) ? vocab.map((_, index) => index) : Object.values(vocab);
  const wrong = ids.find((id) => !isId(id));
  if (wrong !== undefined) throw bad('BAD_CONFIG', 'token ids in model.vocab', describeValue(wrong), source);
  if (new Set(ids).size !== ids.length)
    throw bad('BAD_CONFIG', 'each token id once in model.vocab', 'one twice', source);
  const last = (largest: number, id: number) => Math.max(largest, id);
  return added.map(({ id }: { id: number }) => id).reduce(last, ids.reduce(last, -1)) + 1;
}

function isId(id: unknown): boolean {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_ID;
}

function isMerge(merge: unknown): boolean {
  if (Array.isArray(merge)) return merge.length === 2 && merge.every((part) => typeof part === 'string');
  return typeof merge === 'string' && merge.includes(' ');
}

function isAddedToken(token: unknown): boolean {
  const { content, id } = (token ?? {}) as { content?: unknown; id?: unknown };
  return typeof content === 'string' && content !== '' && isId(id);
}

function guard<T>(source: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    const problem = (cause as Error).message;
    throw bad('BAD_CONFIG', 'a tokenizer that @huggingface/tokenizers supports', problem, source, cause);
  }
}

function bad(
  code: 'BAD_CONFIG' | 'BAD_ARGUMENT',
  expected: string,
  got: string,
  source: string,
  cause?: unknown,
): ZayascopeError {
  return new ZayascopeError(code, `${OP}: expected ${expected}, got ${got} (${source})`, {
    op: OP,
    tensor: source,
    cause,
  });
}
