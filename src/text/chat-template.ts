import { Template } from '@huggingface/jinja';
import { ZayascopeError } from '../errors.js';

const OP = 'renderChat';

/** One turn of a conversation. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/**
 * Renders a Jinja chat template as transformers' `apply_chat_template` does with `add_generation_prompt`: the template sees `messages`,
 * `add_generation_prompt` and the special tokens' texts (`bos_token`, ...).
 *
 * @param specialTexts by their names, e.g. `{ bos_token: '<bos>' }`.
 * @param where the file that holds the template, for errors.
 * @throws `BAD_CONFIG` for a template that does not parse, or that rejects the messages (its `raise_exception`, which some use against
 * system messages).
 */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  specialTexts: Readonly<Record<string, string>>,
  where: string,
): string {
  let text: unknown;
  try {
    text = new Template(template).render({ ...specialTexts, messages, add_generation_prompt: true });
  } catch (cause) {
    throw failure(`an error: ${(cause as Error).message}`, where, cause);
  }
  if (typeof text !== 'string' || text === '') throw failure('no text', where);
  return text;
}

function failure(got: string, where: string, cause?: unknown): ZayascopeError {
  return new ZayascopeError(
    'BAD_CONFIG',
    `${OP}: expected a chat template that renders the messages, got ${got} (${where})`,
    {
      op: OP,
      tensor: where,
      cause,
    },
  );
}
