import { Tokenizer } from '@huggingface/tokenizers';
import { ZayascopeError } from '../errors.js';
import { readTokens } from './added-tokens.js';
import { renderChatTemplate } from './chat-template.js';
import { makeDecoder } from './decoders.js';
import type { TextTokenizer } from './tokenizer.js';

const OP = 'openTokenizer';
/** Parts that a tokenizer.json may leave out. */
const ABSENT = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
const REPLACEMENT = '\u{fffd}';

/** What `@huggingface/tokenizers` is used for here; its own declarations do not resolve under `nodenext`. */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
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
  const tokens = tokensById(json, source);
  const decode = makeDecoder(json.decoder, source);
  const library = guard(source, () => new Tokenizer({ ...ABSENT, ...json }, config) as LibraryTokenizer);
  const bos = specialTexts.bos_token;
  const bosToken = bos === undefined ? undefined : library.token_to_id(bos);
  return {
    source,
    size: tokens.length,
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
    decode: (ids) => decodeKnown(tokens, decode, ids),
    renderChat(messages) {
      if (chatTemplate === undefined)
        throw bad('BAD_CONFIG', 'a chat template', 'a tokenizer without', source);
      return renderChatTemplate(chatTemplate, messages, specialTexts, source);
    },
  };
}

/** Ids without a token become U+FFFD, so runs of the others are decoded alone. */
function decodeKnown(
  tokens: readonly (string | undefined)[],
  decode: ReturnType<typeof makeDecoder>,
  ids: readonly number[],
): string {
  let text = '';
  for (let start = 0; start < ids.length; ) {
    let end = start;
    while (end < ids.length && tokens[ids[end]!] !== undefined) end++;
    if (end > start) text += decode(ids.slice(start, end).map((id) => tokens[id]!)).join('');
    else {
      text += REPLACEMENT;
      end++;
    }
    start = end;
  }
  return text;
}

/** Tokens by id, checked: the library takes them on trust. */
function tokensById(json: Record<string, unknown>, source: string): (string | undefined)[] {
  const { vocabulary, added } = readTokens(json, source);
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  for (const { id, content } of added.list) tokens[id] = content;
  return tokens;
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
