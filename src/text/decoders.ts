import { ZayascopeError } from '../errors.js';
import { describeValue } from '../weights/describe-value.js';

const OP = 'openTokenizer';
const REPLACEMENT = '\u{fffd}';
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const strictUtf8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

/** Turns tokens into pieces of text, as one step of Hugging Face's `tokenizers`. */
type Decode = (tokens: readonly string[]) => string[];

/**
 * The decoder of a tokenizer.json, step for step as `tokenizers` does it: `ByteFallback` gives a replacement character for each byte of a run
 * that is no UTF-8, and a byte-order mark is a character like others.
 *
 * @throws `BAD_CONFIG` for a decoder that is malformed or not supported.
 */
export function makeDecoder(json: unknown, source: string): Decode {
  // Without a decoder tokens stand apart.
  if (json === null || json === undefined) return (tokens) => [tokens.join(' ')];
  const step = json as Record<string, unknown>;
  const bad = (expected: string, got: unknown): ZayascopeError =>
    new ZayascopeError('BAD_CONFIG', `${OP}: expected ${expected}, got ${describeValue(got)} (${source})`, {
      op: OP,
      tensor: source,
    });
  const text = (name: string): string => {
    if (typeof step[name] !== 'string') throw bad(`a text as ${name} of the decoder`, step[name]);
    return step[name];
  };
  const count = (name: string): number => {
    if (!Number.isInteger(step[name]) || (step[name] as number) < 0)
      throw bad(`a count as ${name} of the decoder`, step[name]);
    return step[name] as number;
  };
  switch (step.type) {
    case 'Sequence': {
      if (!Array.isArray(step.decoders)) throw bad('a list decoder.decoders', step.decoders);
      const steps = step.decoders.map((each) => {
        if (typeof each !== 'object' || each === null) throw bad('a decoder', each);
        return makeDecoder(each, source);
      });
      return (tokens) => steps.reduce<string[]>((pieces, next) => next(pieces), [...tokens]);
    }
    case 'ByteLevel':
      return (tokens) => [utf8.decode(Uint8Array.from(tokens.flatMap(byteLetters)))];
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Replace': {
      const { String: pattern } = (step.pattern ?? {}) as { String?: unknown };
      if (typeof pattern !== 'string' || pattern === '')
        throw bad('a String as pattern of the decoder Replace', pattern);
      const content = text('content');
      return (tokens) => tokens.map((token) => token.replaceAll(pattern, () => content));
    }
    case 'Strip': {
      const [content, start, stop] = [text('content'), count('start'), count('stop')];
      return (tokens) => tokens.map((token) => strip([...token], content, start, stop));
    }
    case 'Metaspace': {
      const mark = text('replacement');
      const prepends = step.prepend_scheme !== 'never' && step.add_prefix_space !== false;
      return (tokens) =>
        tokens.map((token, at) =>
          (at === 0 && prepends && token.startsWith(mark) ? token.slice(mark.length) : token).replaceAll(
            mark,
            ' ',
          ),
        );
    }
    default:
      throw bad('a decoder that is supported', step.type);
  }
}

const BYTES = new Map(
  Array.from({ length: 256 }, (_, byte) => byte)
    .map((byte) => ({ byte, isItself: (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad) }))
    .sort((a, b) => Number(b.isItself) - Number(a.isItself) || a.byte - b.byte)
    .map(({ byte, isItself }, at) => [String.fromCodePoint(isItself ? byte : 0x100 + at - 188), byte]),
);

/** The bytes that GPT-2's letters stand for; of a token with another letter those of the text itself. */
function byteLetters(token: string): number[] {
  const bytes = [...token].map((letter) => BYTES.get(letter));
  return bytes.every((byte) => byte !== undefined) ? bytes : [...new TextEncoder().encode(token)];
}

function byteFallback(tokens: readonly string[]): string[] {
  const pieces: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      pieces.push(strictUtf8.decode(Uint8Array.from(bytes)));
    } catch {
      pieces.push(REPLACEMENT.repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      pieces.push(token);
    }
  }
  flush();
  return pieces;
}

/** Takes up to `start` and `stop` of a letter off the ends. */
function strip(letters: string[], content: string, start: number, stop: number): string {
  let first = 0;
  while (first < start && letters[first] === content) first++;
  let last = letters.length;
  while (letters.length - last < stop && last > first && letters[last - 1] === content) last--;
  return letters.slice(first, last).join('');
}
