import { type ErrorCode, ZayascopeError } from '../errors.js';

/**
 * Checks of single fields of a JSON file; each throws with the field's name, what was expected and what came.
 */
export class FieldCheck {
  readonly #code: ErrorCode;
  readonly #operation: string;
  readonly #where: string;
  readonly #file: string;

  constructor(code: ErrorCode, operation: string, where: string, file: string) {
    this.#code = code;
    this.#operation = operation;
    this.#where = where;
    this.#file = file;
  }

  fail(field: string, expected: string, got: unknown): never {
    const shown = got === undefined ? 'nothing' : describeJson(got);
    throw new ZayascopeError(
      this.#code,
      `${this.#operation}: expected ${expected} in ${field}, got ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown} (${this.#where})`,
      { op: this.#operation, tensor: this.#file },
    );
  }

  object(value: unknown, field: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      this.fail(field, 'an object', value);
    return value as Record<string, unknown>;
  }

  array(value: unknown, field: string): unknown[] {
    if (!Array.isArray(value)) this.fail(field, 'an array', value);
    return value;
  }

  string(value: unknown, field: string): void {
    if (typeof value !== 'string') this.fail(field, 'a string', value);
  }

  boolean(value: unknown, field: string): void {
    if (typeof value !== 'boolean') this.fail(field, 'true or false', value);
  }

  integer(value: unknown, least: number, field: string): void {
    if (!Number.isSafeInteger(value) || (value as number) < least)
      this.fail(field, `an integer from ${least}`, value);
  }

  /** An integer from 0 to `end` - 1. */
  index(value: unknown, end: number, field: string): void {
    this.integer(value, 0, field);
    if ((value as number) >= end) this.fail(field, `an integer below ${end}`, value);
  }

  equal(value: unknown, allowed: readonly unknown[], field: string): void {
    if (!allowed.includes(value))
      this.fail(field, allowed.map((entry) => JSON.stringify(entry)).join(' or '), value);
  }
}

/** A value as JSON; what is nested too deeply for that in words. */
function describeJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return 'a value that is nested too deeply';
  }
}
