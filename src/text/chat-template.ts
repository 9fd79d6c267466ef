import { parse, tokenize } from '@huggingface/jinja';
import { ZayascopeError } from '../errors.js';
import { withoutBlockSpace } from './template/block-space.js';
import { Interpreter, type Node } from './template/interpreter.js';
import { joinNumbers } from './template/number-literals.js';
import { fromJson, TemplateFault } from './template/values.js';

const OP = 'renderChat';
const MAX_LETTERS = 1024 * 1024;

/** One turn of a conversation. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/**
 * Renders a Jinja chat template as transformers' `apply_chat_template` does with `add_generation_prompt`: the
 * template sees `messages`, `tools` and `documents` (none), `add_generation_prompt` and the special tokens'
 * texts (`bos_token`, ...). Values have Python's meaning and print as Python prints them; a template ends
 * after 2,000,000 steps, 64 Mi letters or 5 seconds.
 *
 * @param specialTexts by their names, e.g. `{ bos_token: '<bos>' }`.
 * @param where the file that holds the template, for errors.
 * @param now for `strftime_now`; default the present, local time.
 * @throws `BAD_CONFIG` for a template that does not parse, that rejects the messages (its `raise_exception`,
 * which some use against system messages), that uses what is not supported, or that takes too long; messages
 * that are no JSON values.
 */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  specialTexts: Readonly<Record<string, string>>,
  where: string,
  now = new Date(),
): string {
  if (template.length > MAX_LETTERS) throw failure(`one of more than ${MAX_LETTERS} letters`, where);
  const body = parsed(template, where);
  let text: string;
  try {
    const names = { tools: null, documents: null, ...specialTexts, messages, add_generation_prompt: true };
    const values = Object.entries(names).map(([name, value]) => [name, fromJson(value)] as const);
    text = new Interpreter().run(body, values, now);
  } catch (cause) {
    // Python's own stack is as deep.
    if (cause instanceof RangeError) throw failure('an error: nested too deeply', where, cause);
    if (!(cause instanceof TemplateFault)) throw cause;
    throw failure(`an error: ${shortened(cause.message)}`, where, cause);
  }
  if (text === '') throw failure('no text', where);
  return text;
}

/**
 * The library's parser runs past the end of a template that stops early, and recurses as deep as one is
 * nested.
 */
function parsed(template: string, where: string): readonly Node[] {
  try {
    // Jinja reads every line end as \n.
    const text = withoutBlockSpace(template.replace(/\r\n?/g, '\n'));
    const tokens = withTests(joinNumbers(tokenize(text)));
    const brackets = innermostBrackets(tokens);
    checkConditions(tokens, brackets);
    checkSubscripts(tokens, brackets);
    return (parse(tokens) as unknown as { body: Node[] }).body;
  } catch (cause) {
    const { message } = cause as Error;
    const got =
      cause instanceof RangeError
        ? 'nested too deeply'
        : cause instanceof TypeError
          ? 'it ends early'
          : shortened(message);
    throw failure(`an error: it does not parse: ${got}`, where, cause);
  }
}

type Tokens = Parameters<typeof parse>[0];

/**
 * The library's parser knows no tests with arguments: `x is divisibleby(2)` becomes a filter, which stands in
 * the same place.
 */
function withTests(tokens: Tokens): Tokens {
  const changed: Tokens = [];
  for (let at = 0; at < tokens.length; at++) {
    const [word, next, after] = [tokens[at]!, tokens[at + 1], tokens[at + 2]];
    const isNegated = next?.type === 'Identifier' && next.value === 'not';
    const name = isNegated ? after : next;
    const open = tokens[at + (isNegated ? 3 : 2)];
    if (
      word.type === 'Identifier' &&
      word.value === 'is' &&
      name?.type === 'Identifier' &&
      open?.type === 'OpenParen'
    ) {
      changed.push(
        { type: 'Pipe', value: '|' },
        { type: 'Identifier', value: `${isNegated ? 'not' : 'is'} ${name.value}` },
      );
      at += isNegated ? 2 : 1;
    } else changed.push(word);
  }
  return changed;
}

/** For each token the bracket that is open behind it, the innermost; undefined outside of all. */
function innermostBrackets(tokens: Tokens): (string | undefined)[] {
  const open: string[] = [];
  return tokens.map(({ type }: { type: string }) => {
    if (/^Open(Paren|Curly|Square)/.test(type)) open.push(type);
    else if (/^Close(Paren|Curly|Square)/.test(type)) open.pop();
    return open.at(-1);
  });
}

/**
 * Jinja allows no bare `a if b else c` as the condition of an `if`, and none that a loop goes over: what
 * stands there is the loop's filter. The library's parser reads both.
 */
function checkConditions(tokens: Tokens, brackets: readonly (string | undefined)[]): void {
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at]!.type !== 'OpenStatement') continue;
    const kind = tokens[at + 1]?.value ?? '';
    if (!['if', 'elif', 'for'].includes(kind)) continue;
    let [ifs, elses] = [0, 0];
    for (at += 2; at < tokens.length && tokens[at]!.type !== 'CloseStatement'; at++) {
      const { type, value } = tokens[at]!;
      if (type !== 'Identifier' || brackets[at] !== undefined) continue;
      if (value === 'if') ifs++;
      else if (value === 'else') elses++;
    }
    const most = kind === 'for' ? Math.max(0, ifs - 1) : 0;
    if ((kind !== 'for' && ifs > 0) || elses > most)
      throw new SyntaxError(`a condition without brackets in {% ${kind} %}`);
  }
}

const OPERATORS = new Set(['and', 'or', 'not', 'in', 'is', 'if', 'else']);

/** The library's parser takes the first of several values in square brackets, with nothing between them. */
function checkSubscripts(tokens: Tokens, brackets: readonly (string | undefined)[]): void {
  for (const [at, { type, value }] of tokens.entries()) {
    const next = tokens[at + 1];
    const ends = /^(Identifier|NumericLiteral|StringLiteral|Close(Paren|Curly|Square)\w*)$/.test(type);
    const begins = /^(Identifier|NumericLiteral)$/.test(next?.type ?? '');
    if (!brackets[at]?.startsWith('OpenSquare') || !ends || !begins) continue;
    const isOperator = (token: string, kind: string) => kind === 'Identifier' && OPERATORS.has(token);
    if (!isOperator(value, type) && !isOperator(next!.value, next!.type))
      throw new SyntaxError(`${next!.value} after a value in square brackets`);
  }
}

function shortened(message: string): string {
  return message.length > 300 ? `${message.slice(0, 300)}...` : message;
}

function failure(got: string, where: string, cause?: unknown): ZayascopeError {
  const message = `${OP}: expected a chat template that renders the messages, got ${got} (${where})`;
  return new ZayascopeError('BAD_CONFIG', message, { op: OP, tensor: where, cause });
}
