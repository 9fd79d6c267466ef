import { byteLetters } from './byte-letters.js';
import { patternOf, translate } from './pattern.js';
import { Step } from './step.js';

/**
 * Cuts a text into words, within which alone tokens are merged. `isFirst`: the text begins what is encoded.
 */
export type PreTokenize = (text: string, isFirst: boolean) => string[];

const BEHAVIORS = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
type Behavior = (typeof BEHAVIORS)[number];

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';

/**
 * The pre-tokenizer of a tokenizer.json, step for step as Hugging Face's `tokenizers` does it.
 *
 * @throws `BAD_CONFIG` for one that is malformed or not supported.
 */
export function makePreTokenizer(json: unknown, source: string): PreTokenize | undefined {
  if (json === null || json === undefined) return undefined;
  const step = new Step(json, 'pre-tokenizer', source);
  const simple = (pattern: RegExp, behavior: Behavior, invert = false): PreTokenize => {
    return (text) => split(text, pattern, behavior, invert);
  };
  switch (step.type) {
    case 'Sequence': {
      const steps = step.list('pretokenizers').map((each) => makePreTokenizer(each, source));
      return (text, isFirst) =>
        steps.reduce<string[]>(
          (words, next) =>
            next === undefined ? words : words.flatMap((word, at) => next(word, isFirst && at === 0)),
          [text],
        );
    }
    case 'Split':
      return simple(patternOf(step), step.choice('behavior', BEHAVIORS), step.flag('invert', false));
    case 'ByteLevel': {
      const [prefix, words] = [step.flag('add_prefix_space', true), step.flag('use_regex', true)];
      const pattern = translate(GPT2, step);
      return (text) => {
        const whole = prefix && !text.startsWith(' ') ? ` ${text}` : text;
        return (words ? split(whole, pattern, 'Isolated', false) : [whole]).map(byteLetters);
      };
    }
    case 'Metaspace':
      return metaspace(step);
    case 'Digits':
      return simple(/\p{N}/gu, step.flag('individual_digits', false) ? 'Isolated' : 'Contiguous');
    case 'Punctuation':
      return simple(/[\p{P}!-/:-@[-`{-~]/gu, step.choice('behavior', BEHAVIORS, 'Isolated'));
    case 'WhitespaceSplit':
      return simple(/\p{White_Space}/gu, 'Removed');
    case 'Whitespace':
      return simple(new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, 'gu'), 'Removed', true);
    default:
      throw step.unsupported();
  }
}

function metaspace(step: Step): PreTokenize {
  const mark = step.text('replacement');
  if ([...mark].length !== 1) throw step.bad('one letter as replacement of Metaspace', mark);
  const absent = step.flag('add_prefix_space', true) ? 'always' : 'never';
  const scheme = step.choice('prepend_scheme', ['always', 'first', 'never'], absent);
  const isSplit = step.flag('split', true);
  const pattern = new RegExp(mark.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'gu');
  return (text, isFirst) => {
    const marked = text.replaceAll(' ', mark);
    const prepends = !marked.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && isFirst));
    const whole = prepends ? mark + marked : marked;
    return isSplit ? split(whole, pattern, 'MergedWithNext', false) : [whole];
  };
}

/** `tokenizers`' ways to cut a text at the matches of a pattern, `invert` at what lies between them. */
function split(text: string, pattern: RegExp, behavior: Behavior, invert: boolean): string[] {
  const parts: { text: string; isMatch: boolean }[] = [];
  let end = 0;
  const push = (until: number, isMatch: boolean): void => {
    if (until > end) parts.push({ text: text.slice(end, until), isMatch: isMatch !== invert });
    end = Math.max(end, until);
  };
  for (const { 0: match, index } of text.matchAll(pattern)) {
    push(index, false);
    push(index + match.length, true);
  }
  push(text.length, false);
  switch (behavior) {
    case 'Isolated':
      return parts.map((part) => part.text);
    case 'Removed':
      return parts.filter(({ isMatch }) => !isMatch).map((part) => part.text);
    case 'Contiguous':
      return joined(parts, (part, before) => part.isMatch === before.isMatch);
    case 'MergedWithPrevious':
      return joined(parts, (part, before) => part.isMatch && !before.isMatch);
    case 'MergedWithNext':
      return joined(parts, (part, before) => before.isMatch && !part.isMatch);
  }
}

type Part = { text: string; isMatch: boolean };

function joined(parts: readonly Part[], joins: (part: Part, before: Part) => boolean): string[] {
  const words: string[] = [];
  for (const [at, part] of parts.entries()) {
    if (at > 0 && joins(part, parts[at - 1]!)) words[words.length - 1] += part.text;
    else words.push(part.text);
  }
  return words;
}
