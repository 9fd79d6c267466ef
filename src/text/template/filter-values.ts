/** What filters make of numbers and texts. */
import { toText } from './printing.js';
import { strip } from './text-methods.js';
import { Float, Markup, type Value } from './values.js';

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
};

export function escaped(value: Value): Markup {
  if (value instanceof Markup) return value;
  return new Markup(toText(value).replace(/[&<>'"]/g, (letter) => ENTITIES[letter]!));
}

/** What Python's `float()` makes of a text; undefined where that fails. Digits of other scripts count. */
export function parsedFloat(text: string): number | undefined {
  const plain = strip(text, undefined, 'both').replace(/\p{Nd}/gu, (digit) => String(digitValue(digit)));
  const [, sign, word] = /^([+-]?)(inf(?:inity)?|nan)$/i.exec(plain) ?? [];
  if (word !== undefined)
    return /^n/i.test(word) ? Number.NaN : sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (!/^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i.test(plain))
    return undefined;
  return Number(plain.replaceAll('_', ''));
}

/** Digits of a script, or several sets of them, stand ten by ten behind what is no digit. */
function digitValue(digit: string): number {
  let place = 0;
  const code = digit.codePointAt(0)!;
  while (/\p{Nd}/u.test(String.fromCodePoint(code - place - 1))) place++;
  return place % 10;
}

/** Half to even, as Python rounds; an integer stays one. */
export function rounded(value: Value, number: number, digits: number): Value {
  if (!(value instanceof Float)) return number;
  // What is beyond 2^53 has no fraction, and no number of digits that `toFixed` could give.
  if (Math.abs(number) >= 2 ** 53 || !Number.isFinite(number) || number === 0) return value;
  // JavaScript rounds the exact value too, but a half away from zero.
  const exact = Math.abs(number).toFixed(100);
  const isHalf = /^50*$/.test(exact.slice(exact.indexOf('.') + 1 + digits));
  const even = (2 * Math.round((number * 10 ** digits) / 2)) / 10 ** digits;
  return new Float(isHalf ? even : Number(number.toFixed(digits)));
}
