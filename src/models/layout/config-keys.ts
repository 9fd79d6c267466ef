import { unmet, type ZayascopeError } from '../../errors.js';
import { type CheckedText, FieldCheck } from '../../field-check.js';

/** A `BAD_CONFIG` error: operation, expectation, what came, where. */
export function configError(op: string, expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_CONFIG', op, expected, got, { where, tensor: where });
}

/**
 * Upper bounds far above any real model: they keep a malformed config from asking for absurd tables or
 * overflowing a product.
 */
export const MAX = {
  layers: 4096,
  experts: 65_536,
  heads: 65_536,
  width: 2 ** 24,
  count: 2 ** 31 - 1,
} as const;

/**
 * Typed access to the keys of a parsed config. Every getter returns a valid value or throws `BAD_CONFIG`
 * naming the key; `absent` is the value of a missing key, and without it the key is required. Null counts as
 * a value except where a getter says so.
 */
export class ConfigKeys {
  readonly #json: Record<string, unknown>;
  readonly #text: CheckedText;
  readonly #prefix: string;
  readonly #check: FieldCheck;

  /** @param prefix path of an enclosing key with its dot, for messages. */
  constructor(json: Record<string, unknown>, op: string, where: string, prefix = '') {
    this.#json = json;
    this.#prefix = prefix;
    this.#text = {
      code: 'BAD_CONFIG',
      op,
      where,
      wording: (key, expected) => `${prefix}${key}: ${expected}`,
    };
    this.#check = new FieldCheck(this.#text);
  }

  get isEmpty(): boolean {
    return Object.keys(this.#json).length === 0;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#json, key);
  }

  /** The value as it is; undefined when the key is absent. */
  raw(key: string): unknown {
    return this.#value(key, undefined);
  }

  /** An integer of at least 1 and at most `max`. */
  size(key: string, max: number, absent?: number): number {
    return this.#check.integer(this.#value(key, absent), 1, key, max);
  }

  /** An integer of at least 0 and at most `MAX.count`. */
  count(key: string, absent?: number): number {
    return this.#check.integer(this.#value(key, absent), 0, key, MAX.count);
  }

  /** A finite number above zero. */
  positive(key: string, absent?: number): number {
    const value = this.#value(key, absent);
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.error(key, 'a finite number above zero', value);
    return value;
  }

  flag(key: string, absent: boolean): boolean {
    return this.#check.boolean(this.#value(key, absent), key);
  }

  /** One of a few values. */
  literal<const T extends string | number | boolean>(key: string, allowed: readonly T[], absent?: T): T {
    return this.#check.equal(this.#value(key, absent), allowed, key);
  }

  /** A token id or null. Ids outside the vocabulary (such as -1) occur in published configs and are kept. */
  token(key: string, absent: number | null): number | null {
    const value = this.#value(key, absent);
    if (value !== null && !isToken(value)) throw this.error(key, 'a token id or null', value);
    return value;
  }

  /** A token id, a list of them, or null. */
  tokens(key: string, absent: number | null): number | readonly number[] | null {
    const value = this.#value(key, absent);
    if (Array.isArray(value) && value.every(isToken)) return value;
    if (value !== null && !isToken(value))
      throw this.error(key, 'a token id, a list of token ids or null', value);
    return value;
  }

  /** An array, or null when the key is absent or null. */
  list(key: string): unknown[] | null {
    const value = this.#value(key, null);
    return value === null ? null : this.#check.array(value, key, 'a list');
  }

  /** The keys of a nested object, or null when the key is absent or null. */
  child(key: string): ConfigKeys | null {
    const value = this.#value(key, null);
    if (value === null) return null;
    const { op, where } = this.#text;
    return new ConfigKeys(this.#check.object(value, key), op, where, `${this.#prefix}${key}.`);
  }

  /** The error for a value of this object that breaks an expectation. */
  error(key: string, expected: string, got: unknown): ZayascopeError {
    return this.#check.error(key, expected, got);
  }

  #value(key: string, absent: unknown): unknown {
    return this.has(key) ? this.#json[key] : absent;
  }
}

function isToken(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
