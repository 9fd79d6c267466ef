import { describeValue } from '../describe-value.js';
import { ZayascopeError } from '../errors.js';
import { readTokens } from './added-tokens.js';
import { renderChatTemplate } from './chat-template.js';
import { addedMatcher } from './pipeline/added-matches.js';
import { makeBpe } from './pipeline/bpe.js';
import { makeDecoder } from './pipeline/decoder.js';
import { hasExpression, makeNormalizer } from './pipeline/normalizer.js';
import { tokensAround } from './pipeline/post-processor.js';
import { makePreTokenizer } from './pipeline/pre-tokenizer.js';
import type { SpecialTokens, TextTokenizer } from './tokenizer.js';

const OP = 'openTokenizer';
const SPECIAL: readonly SpecialTokens[] = ['tokenizer', 'bos', 'none'];
const REPLACEMENT = '\u{fffd}';

/** What makes a tokenizer, in the form of the files of a transformers folder. */
export interface TokenizerDefinition {
  /** The object in `tokenizer.json`. */
  json: Record<string, unknown>;
  /** Texts of the special tokens that templates may use, by name: `bos_token`, `eos_token`, ... */
  specialTexts: Readonly<Record<string, string>>;
  chatTemplate: string | undefined;
  /** The file it came from. */
  source: string;
}

/** Builds the tokenizer. Throws `BAD_CONFIG` for a definition that is malformed or not supported. */
export function jsonTokenizer(definition: TokenizerDefinition): TextTokenizer {
  const { json, specialTexts, chatTemplate, source } = definition;
  const { vocabulary, added } = readTokens(json, source);
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  const normalize = makeNormalizer(json.normalizer, source);
  // `tokenizers` gives a token that it looks for in normalized text back as the normalizer leaves it.
  const shown = normalize === undefined || hasExpression(json.normalizer) ? undefined : normalize;
  for (const { id, content, normalized } of added.list)
    tokens[id] = normalized && shown !== undefined ? shown(content) : content;
  const preTokenize = makePreTokenizer(json.pre_tokenizer, source);
  const bpe = makeBpe(json.model as Record<string, unknown>, vocabulary, source);
  const around = tokensAround(json.post_processor, (token) => added.idOf(token), source);
  const decode = makeDecoder(json.decoder, source);
  // Made at the first text: normalizing tokens may take as long as an expression likes.
  let find: ReturnType<typeof addedMatcher> | undefined;
  const bosToken = specialTexts.bos_token === undefined ? undefined : added.idOf(specialTexts.bos_token);
  const encodePlain = (text: string): number[] => {
    find ??= addedMatcher(added.list, normalize);
    const ids = find(text).flatMap((piece) => {
      if ('token' in piece) return [piece.token.id];
      const words = preTokenize === undefined ? [piece.text] : preTokenize(piece.text, piece.isFirst);
      return words.flatMap(bpe);
    });
    if (ids.some((id) => id === undefined))
      throw bad('BAD_ARGUMENT', 'text that the vocabulary covers', 'a character without a token', source);
    return ids as number[];
  };
  return {
    source,
    size: tokens.length,
    bosToken,
    hasChatTemplate: chatTemplate !== undefined,
    encode(text, special) {
      if (typeof text !== 'string') throw bad('BAD_ARGUMENT', 'a text', describeValue(text), source);
      if (!SPECIAL.includes(special))
        throw bad(
          'BAD_ARGUMENT',
          `special tokens among ${SPECIAL.join(', ')}`,
          describeValue(special),
          source,
        );
      const ids = encodePlain(text);
      if (special === 'tokenizer') return [...around.before, ...ids, ...around.after];
      if (special === 'none') return ids;
      if (bosToken === undefined)
        throw bad('BAD_ARGUMENT', 'a token that begins sequences', 'a tokenizer without', source);
      return ids[0] === bosToken ? ids : [bosToken, ...ids];
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

function bad(
  code: 'BAD_CONFIG' | 'BAD_ARGUMENT',
  expected: string,
  got: string,
  source: string,
): ZayascopeError {
  return new ZayascopeError(code, `${OP}: expected ${expected}, got ${got} (${source})`, {
    op: OP,
    tensor: source,
  });
}
