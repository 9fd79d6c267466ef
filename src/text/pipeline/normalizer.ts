import { byteLetters } from './byte-letters.js';
import { patternOf } from './pattern.js';
import { Step } from './step.js';

/** Changes a text before it is cut into words. */
export type Normalize = (text: string) => string;

/**
 * The normalizer of a tokenizer.json, step for step as Hugging Face's `tokenizers` does it.
 *
 * @throws `BAD_CONFIG` for one that is malformed or not supported (`Precompiled`, `BertNormalizer`, `Nmt`).
 */
export function makeNormalizer(json: unknown, source: string): Normalize | undefined {
  if (json === null || json === undefined) return undefined;
  const step = new Step(json, 'normalizer', source);
  switch (step.type) {
    case 'Sequence': {
      const steps = step.list('normalizers').map((each) => makeNormalizer(each, source));
      return (text) => steps.reduce((changed, next) => (next === undefined ? changed : next(changed)), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = step.type;
      return (text) => text.normalize(form);
    }
    case 'Replace': {
      const [pattern, content] = [patternOf(step), step.text('content')];
      return (text) => text.replace(pattern, () => content);
    }
    case 'Prepend': {
      const prefix = step.text('prepend');
      return (text) => (text === '' ? '' : prefix + text);
    }
    case 'Strip': {
      const [left, right] = [step.flag('strip_left', false), step.flag('strip_right', false)];
      return (text) => {
        const start = left ? text.replace(/^\p{White_Space}+/u, '') : text;
        return right ? start.replace(/\p{White_Space}+$/u, '') : start;
      };
    }
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Lowercase':
      // Letter by letter: a sigma at the end of a word stays a plain one.
      return (text) => Array.from(text, (letter) => letter.toLowerCase()).join('');
    case 'ByteLevel':
      return byteLetters;
    default:
      throw step.unsupported();
  }
}

/** True if a normalizer holds a regular expression, which may take any time. */
export function hasExpression(json: unknown): boolean {
  if (typeof json !== 'object' || json === null) return false;
  if (Array.isArray(json)) return json.some(hasExpression);
  const { pattern, normalizers } = json as { pattern?: { Regex?: unknown } | null; normalizers?: unknown };
  return pattern?.Regex !== undefined || hasExpression(normalizers);
}
