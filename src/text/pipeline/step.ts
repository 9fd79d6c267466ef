import { describeValue } from '../../describe-value.js';
import { ZayascopeError } from '../../errors.js';

const OP = 'openTokenizer';

/** A part of a tokenizer.json, with typed access to its fields. */
export class Step {
  readonly type: string;
  readonly source: string;
  readonly #what: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  /** Throws `BAD_CONFIG` for what is no object with a type. @param what the part's name, for errors. */
  constructor(json: unknown, what: string, source: string) {
    this.#what = what;
    this.source = source;
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw this.bad(`an object as ${what}`, json);
    this.#fields = json as Record<string, unknown>;
    if (typeof this.#fields.type !== 'string') throw this.bad(`a type of the ${what}`, this.#fields.type);
    this.type = this.#fields.type;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== 'string') throw this.bad(`a text as ${name} of ${this.type}`, value);
    return value;
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.#fields[name] ?? absent;
    if (typeof value !== 'boolean') throw this.bad(`true or false as ${name} of ${this.type}`, value);
    return value;
  }

  count(name: string): number {
    const value = this.#fields[name];
    if (!Number.isInteger(value) || (value as number) < 0)
      throw this.bad(`a count as ${name} of ${this.type}`, value);
    return value as number;
  }

  list(name: string): unknown[] {
    const value = this.#fields[name];
    if (!Array.isArray(value)) throw this.bad(`a list as ${name} of ${this.type}`, value);
    return value;
  }

  /** One of some names. */
  choice<T extends string>(name: string, names: readonly T[], absent?: T): T {
    const value = this.#fields[name] ?? absent;
    if (!names.includes(value as T))
      throw this.bad(`${name} of ${this.type} among ${names.join(', ')}`, value);
    return value as T;
  }

  /** Any field. */
  field(name: string): unknown {
    return this.#fields[name];
  }

  /** `pattern`: a text as it stands, or a regular expression. */
  pattern(): { text: string } | { regex: string } {
    const { String: text, Regex: regex } = (this.#fields.pattern ?? {}) as {
      String?: unknown;
      Regex?: unknown;
    };
    if (typeof text === 'string' && text !== '') return { text };
    if (typeof regex === 'string' && regex !== '') return { regex };
    throw this.bad(`a String or Regex as pattern of ${this.type}`, text ?? regex);
  }

  unsupported(): ZayascopeError {
    return this.bad(`a ${this.#what} that is supported`, this.type);
  }

  bad(expected: string, got: unknown): ZayascopeError {
    const message = `${OP}: expected ${expected}, got ${describeValue(got)} (${this.source})`;
    return new ZayascopeError('BAD_CONFIG', message, { op: OP, tensor: this.source });
  }
}
