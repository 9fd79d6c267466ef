/** What filters make of numbers and texts. */
import { toText } from './printing.js';
import { strip } from './text-methods.js';
import { Float, Markup, TemplateFault, type Value } from './values.js';

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

export function parsed(text: string, form: RegExp): number | undefined {
  const stripped = strip(text, undefined, 'both');
  if (!form.test(stripped)) return undefined;
  return form.source.includes('e[') ? Number(stripped) : Math.trunc(Number(stripped));
}

/** Half to even, as Python rounds; an integer stays one. */
export function rounded(value: Value, number: number, digits: number): Value {
  if (!(value instanceof Float)) return Math.round(number);
  if (digits < 0 || digits > 15) throw new TemplateFault('round to that many digits is not supported');
  // JavaScript rounds the exact value too, but a half away from zero.
  const exact = Math.abs(number).toFixed(100);
  const isHalf = /^50*$/.test(exact.slice(exact.indexOf('.') + 1 + digits));
  const even = (2 * Math.round((number * 10 ** digits) / 2)) / 10 ** digits;
  return new Float(isHalf ? even : Number(number.toFixed(digits)));
}
