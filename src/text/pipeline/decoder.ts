import { letterBytes } from './byte-letters.js';
import { Step } from './step.js';

const REPLACEMENT = '\u{fffd}';
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const strictUtf8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

/** Turns tokens into pieces of text, as one step of Hugging Face's `tokenizers`. */
type Decode = (tokens: readonly string[]) => string[];

/**
 * The decoder of a tokenizer.json, step for step as `tokenizers` does it: `ByteFallback` gives a replacement
 * character for each byte of a run that is no UTF-8, and a byte-order mark is a character like others.
 *
 * @throws `BAD_CONFIG` for a decoder that is malformed or not supported.
 */
export function makeDecoder(json: unknown, source: string): Decode {
  // Without a decoder tokens stand apart.
  if (json === null || json === undefined) return (tokens) => [tokens.join(' ')];
  const step = new Step(json, 'decoder', source);
  switch (step.type) {
    case 'Sequence': {
      const steps = step.list('decoders').map((each) => makeDecoder(each, source));
      return (tokens) => steps.reduce<string[]>((pieces, next) => next(pieces), [...tokens]);
    }
    case 'ByteLevel':
      return (tokens) => [utf8.decode(Uint8Array.from(tokens.flatMap(letterBytes)))];
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Replace': {
      const [pattern, content] = [step.pattern(), step.text('content')];
      // Decoding runs as tokens come, in no thread of its own: an expression could hold it up for ever.
      if (!('text' in pattern)) throw step.bad('a String as pattern of the decoder Replace', pattern.regex);
      return (tokens) => tokens.map((token) => token.replaceAll(pattern.text, () => content));
    }
    case 'Strip': {
      const [content, start, stop] = [step.text('content'), step.count('start'), step.count('stop')];
      return (tokens) => tokens.map((token) => strip([...token], content, start, stop));
    }
    case 'Metaspace': {
      const mark = step.text('replacement');
      const prepends = step.field('prepend_scheme') !== 'never' && step.flag('add_prefix_space', true);
      // `tokenizers` drops every mark of the first token.
      return (tokens) => tokens.map((token, at) => token.replaceAll(mark, at === 0 && prepends ? '' : ' '));
    }
    default:
      throw step.unsupported();
  }
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
