import { badArgument, type ZayascopeError } from '../errors.js';
import type { ChatMessage } from './chat-template.js';
import { openTokenizer, type SpecialTokens, type TextTokenizer } from './tokenizer.js';

const OP = 'promptTokens';

/** A prompt as text. */
export interface TextPrompt {
  text: string;
  /** True to send the text as a user's message through the model's chat template; default false. */
  chat?: boolean;
  /** System message before it; only with {@link chat}. */
  system?: string;
  /**
   * Special tokens around plain text. Default `tokenizer`; a chat always has those that its template holds,
   * and only these.
   */
  special?: SpecialTokens;
}

/** A prompt as token ids, and what made them. */
export interface PromptTokens {
  tokens: number[];
  tokenizer: TextTokenizer;
  /** Ids that the tokenizer put before and after those of the text, e.g. 2 and 106. */
  added: { before: number[]; after: number[] };
}

/**
 * Turns a text into the token ids that a model is fed. The model's chat template and regular expressions run
 * in this thread, so this is for models that are trusted; {@link promptTokensInWorker} bounds the time that
 * they take.
 *
 * @param model a model folder or GGUF file, as `openTokenizer` takes it.
 * @throws as `openTokenizer` and `TextTokenizer.encode`; `BAD_ARGUMENT` for a system message without `chat`,
 * and for text without tokens.
 */
export async function promptTokens(model: string, prompt: TextPrompt): Promise<PromptTokens> {
  if (prompt.system !== undefined && prompt.chat !== true)
    throw bad('a system message only in a chat', 'one with plain text', model);
  const tokenizer = await openTokenizer(model);
  return { ...textTokens(tokenizer, prompt, model), tokenizer };
}

/** As {@link promptTokens}, with a tokenizer that is open. */
export function textTokens(
  tokenizer: TextTokenizer,
  prompt: TextPrompt,
  model: string,
): Omit<PromptTokens, 'tokenizer'> {
  const { text, chat = false, system, special = 'tokenizer' } = prompt;
  if (typeof text !== 'string' || (system !== undefined && typeof system !== 'string'))
    throw bad(
      'a text, and a system message if any',
      typeof text === 'string' ? typeof system : typeof text,
      model,
    );
  const messages: ChatMessage[] = [
    ...(system === undefined ? [] : [{ role: 'system', content: system } as const]),
    { role: 'user', content: text },
  ];
  const tokens = chat
    ? tokenizer.encode(tokenizer.renderChat(messages), 'none')
    : tokenizer.encode(text, special);
  if (tokens.length === 0) throw bad('text of at least one token', JSON.stringify(text), model);
  return { tokens, added: chat ? NONE_ADDED : addedTo(tokens, tokenizer.encode(text, 'none')) };
}

const NONE_ADDED: PromptTokens['added'] = { before: [], after: [] };

/** Where `plain` stands in `tokens`, which have at most a few more on either side. */
function addedTo(tokens: readonly number[], plain: readonly number[]): PromptTokens['added'] {
  const extra = tokens.length - plain.length;
  for (let before = 0; before <= extra; before++)
    if (plain.every((id, at) => tokens[before + at] === id))
      return { before: tokens.slice(0, before), after: tokens.slice(before + plain.length) };
  return NONE_ADDED;
}

function bad(expected: string, got: string, model: string): ZayascopeError {
  return badArgument(OP, expected, got, model);
}
