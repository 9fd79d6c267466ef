import { describeValue } from './describe-value.js';
import { type ErrorCode, unmet, type ZayascopeError } from './errors.js';

/** What is checked, for the errors. */
export interface CheckedText {
  /** Code of the errors. */
  code: ErrorCode;
  /** The operation that reads the text. */
  op: string;
  /** The file, or what holds the text. */
  where: string;
  /** What the errors name as their `tensor`; default `where`. */
  tensor?: string;
  /** How an expectation of a field is worded; default `<expected> in <field>`. */
  wording?: (field: string, expected: string) => string;
}

/**
 * Checks of single fields of a parsed JSON text: manifests, configurations, name maps, policies, descriptions
 * of reproductions. Each gives the value that it has checked, or throws with the field's name, what was
 * expected and what came.
 */
export class FieldCheck {
  readonly #text: CheckedText;

  constructor(text: CheckedText) {
    this.#text = text;
  }

  /** The error of a value that breaks an expectation. */
  error(field: string, expected: string, got: unknown): ZayascopeError {
    return this.#unmet(field, expected, describeValue(got));
  }

  fail(field: string, expected: string, got: unknown): never {
    throw this.error(field, expected, got);
  }

  object(value: unknown, field: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.error(field, 'an object', value);
    return value as Record<string, unknown>;
  }

  /** An object with no key but these: a misspelled one would otherwise silently do nothing. */
  objectOf(value: unknown, known: readonly string[], field: string): Record<string, unknown> {
    const object = this.object(value, field);
    const unknown = Object.keys(object).find((key) => !known.includes(key));
    if (unknown !== undefined) throw this.#unmet(field, `only ${known.join(', ')}`, `'${unknown}'`);
    return object;
  }

  array(value: unknown, field: string, expected = 'an array'): unknown[] {
    if (!Array.isArray(value)) throw this.error(field, expected, value);
    return value;
  }

  string(value: unknown, field: string): string {
    if (typeof value !== 'string') throw this.error(field, 'a string', value);
    return value;
  }

  strings(value: unknown, field: string): string[] {
    if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string'))
      throw this.error(field, 'an array of strings', value);
    return value;
  }

  boolean(value: unknown, field: string): boolean {
    if (typeof value !== 'boolean') throw this.error(field, 'true or false', value);
    return value;
  }

  /** An integer from `least`, up to `most` where that is given. */
  integer(value: unknown, least: number, field: string, most?: number): number {
    if (!isInteger(value, least, most)) {
      const end = most === undefined ? '' : ` to ${most}`;
      throw this.error(field, `an integer from ${least}${end}`, value);
    }
    return value;
  }

  integers(value: unknown, least: number, field: string): number[] {
    if (!Array.isArray(value) || !value.every((entry): entry is number => isInteger(entry, least)))
      throw this.error(field, `integers from ${least}`, value);
    return value;
  }

  /** An integer from 0 to `end` - 1. */
  index(value: unknown, end: number, field: string): number {
    const index = this.integer(value, 0, field);
    if (index >= end) throw this.error(field, `an integer below ${end}`, value);
    return index;
  }

  equal<const T>(value: unknown, allowed: readonly T[], field: string): T {
    const found = allowed.find((entry) => entry === value);
    if (found === undefined)
      throw this.error(field, allowed.map((entry) => describeValue(entry)).join(' or '), value);
    return found;
  }

  #unmet(field: string, expected: string, got: string): ZayascopeError {
    const { code, op, where, tensor = where, wording = inField } = this.#text;
    return unmet(code, op, wording(field, expected), got, { where, tensor });
  }
}

function inField(field: string, expected: string): string {
  return `${expected} in ${field}`;
}

function isInteger(value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

/**
 * What the files that this library reads may nest: far above any real header, far below what could exhaust
 * memory.
 */
const MAX_DEPTH = 32;

/**
 * Looks for duplicate keys and excessive nesting before the text is parsed. It needs no valid JSON: what it
 * misreads in an invalid text, `JSON.parse` rejects afterwards (or it throws a SyntaxError itself).
 * @returns what is wrong, or undefined.
 */
export function jsonProblem(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) return `nesting deeper than ${MAX_DEPTH}`;
        expectsKey = text[at] === '{';
        open.push(expectsKey ? new Set() : undefined);
        break;
      case '}':
      case ']':
        open.pop();
        expectsKey = false;
        break;
      case ',':
        expectsKey = open.at(-1) !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        if (expectsKey) {
          const key = JSON.parse(text.slice(at, end + 1)) as string;
          const keys = open.at(-1);
          if (keys?.has(key)) return `the key ${describeValue(key)} twice`;
          keys?.add(key);
          expectsKey = false;
        }
        at = end;
      }
    }
  }
  return undefined;
}

/**
 * Index of the quote that closes the string opened at `start`, or the last index of a text that ends inside
 * it.
 */
export function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return text.length - 1;
}
