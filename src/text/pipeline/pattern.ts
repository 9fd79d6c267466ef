import * as tokenizers from '@huggingface/tokenizers';
import type { Step } from './step.js';

/** The library's own declarations do not resolve under `nodenext`. */
const { SplitPreTokenizer } = tokenizers as unknown as {
  SplitPreTokenizer: new (step: object) => { pattern: RegExp };
};

/**
 * The regular expression of a step's pattern, global. The library translates Oniguruma's language. Throws
 * `BAD_CONFIG`.
 */
export function patternOf(step: Step): RegExp {
  const pattern = step.pattern();
  if ('text' in pattern) return new RegExp(escapeText(pattern.text), 'gu');
  return translate(pattern.regex, step);
}

/** An expression in Oniguruma's language. */
export function translate(regex: string, step: Step): RegExp {
  try {
    return new SplitPreTokenizer({ pattern: { Regex: regex }, invert: false }).pattern;
  } catch {
    throw step.bad('a regular expression that is supported', regex);
  }
}

function escapeText(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
