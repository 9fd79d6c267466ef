import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZayascopeError } from '../../src/errors.js';
import { type ChatMessage, renderChatTemplate } from '../../src/text/chat-template.js';

interface Case {
  name: string;
  template: string;
  chat: string;
  /** What transformers renders, or its error. */
  text?: string;
  error?: string;
}
const fixture = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures', 'templates.json'), 'utf8')) as {
  chats: Record<string, ChatMessage[]>;
  special: Record<string, string>;
  cases: Case[];
};

/** Templates that transformers renders and that are refused here, with what the sentence says. */
const REFUSED: Record<string, string> = {
  'text-2': 'str.swapcase() is not supported',
  'text-9': 'printing a function is not supported',
  'dicts-2': 'printing a function is not supported',
  'escape-1': "'Markup' and 'str'",
  'forms-0': 'the number 1_000: this way of writing it is not supported',
  'forms-1': 'the number 0x10: this way of writing it is not supported',
  'forms-2': 'integers beyond 2^53 are not supported',
  'forms-3': 'such a power of a float is not supported',
  'forms-4': 'int with a base is not supported',
  'unparsed-0': 'Unknown statement type: raw',
  'unparsed-1': 'Unknown statement type: with',
  'unparsed-3': 'Unknown statement, got UnaryOperator',
  'unparsed-4': 'it does not parse',
  'unparsed-5': 'it does not parse',
  'condition-7': 'it does not parse',
  'looks-6': 'Unknown statement, got UnaryOperator',
  'unparsed-6': 'the filter center is not supported',
};

/** The text, or the error's sentence. */
function render({ template, chat }: Case): { text: string } | { error: string } {
  try {
    return { text: renderChatTemplate(template, fixture.chats[chat]!, fixture.special, 'the fixture') };
  } catch (error) {
    expect(error).toBeInstanceOf(ZayascopeError);
    return { error: (error as Error).message };
  }
}

describe('a chat template renders as in transformers', () => {
  it.each(fixture.cases.map((each) => [`${each.name} of ${each.chat}`, each] as const))('%s', (_, each) => {
    const result = render(each);
    const refused = REFUSED[each.name];
    if (refused !== undefined) expect(result).toEqual({ error: expect.stringContaining(refused) });
    else if (each.text === undefined || each.text === '') expect(result).toHaveProperty('error');
    else expect(result).toEqual({ text: each.text });
  });
});
