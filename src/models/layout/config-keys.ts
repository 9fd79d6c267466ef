import { ZayascopeError } from '../../errors.js';
import { describeValue } from '../../weights/describe-value.js';

/** A `BAD_CONFIG` error: operation, expectation, what came, where. */
export function configError(op: string, expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_CONFIG', `${op}: expected ${expected}, got ${got} (${where})`, {
    op,
    tensor: where,
  });
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
  readonly #op: string;
  readonly #where: string;
  readonly #prefix: string;

  /** @param prefix path of an enclosing key with its dot, for messages. */
  constructor(json: Record<string, unknown>, op: string, where: string, prefix = '') {
    this.#json = json;
    this.#op = op;
    this.#where = where;
    this.#prefix = prefix;
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
    const value = this.#value(key, absent);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max)
      throw this.error(key, `an integer from 1 to ${max}`, value);
    return value;
  }

  /** An integer of at least 0 and at most `MAX.count`. */
  count(key: string, absent?: number): number {
    const value = this.#value(key, absent);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > MAX.count)
      throw this.error(key, `an integer from 0 to ${MAX.count}`, value);
    return value;
  }

  /** A finite number above zero. */
  positive(key: string, absent?: number): number {
    const value = this.#value(key, absent);
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.error(key, 'a finite number above zero', value);
    return value;
  }

  flag(key: string, absent: boolean): boolean {
    const value = this.#value(key, absent);
    if (typeof value !== 'boolean') throw this.error(key, 'true or false', value);
    return value;
  }

  /** One of a few values. */
  literal<const T extends string | number | boolean>(key: string, allowed: readonly T[], absent?: T): T {
    const value = this.#value(key, absent);
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined)
      throw this.error(key, allowed.map((each) => describeValue(each)).join(' or '), value);
    return found;
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
    if (value !== null && !Array.isArray(value)) throw this.error(key, 'a list', value);
    return value;
  }

  /** The keys of a nested object, or null when the key is absent or null. */
  child(key: string): ConfigKeys | null {
    const value = this.#value(key, null);
    if (value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) throw this.error(key, 'an object', value);
    return new ConfigKeys(value as Record<string, unknown>, this.#op, this.#where, `${this.#prefix}${key}.`);
  }

  /** The error for a value of this object that breaks an expectation. */
  error(key: string, expected: string, got: unknown): ZayascopeError {
    return configError(this.#op, `${this.#prefix}${key}: ${expected}`, describeValue(got), this.#where);
  }

  #value(key: string, absent: unknown): unknown {
    return this.has(key) ? this.#json[key] : absent;
  }
}

function isToken(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
