import { describeValue } from '../describe-value.js';
import { type ErrorCode, unmet, ZayascopeError } from '../errors.js';
import { endOfString, jsonProblem } from '../field-check.js';
import { describeFile, sniffBytes } from './formats/file-kind.js';

/** Where a JSON text came from, for its error messages. */
export interface JsonSource {
  /** Code of the errors that a malformed text causes. */
  code: ErrorCode;
  /** The operation that reads the text. */
  op: string;
  /** The file (and part of it) that holds the text. */
  where: string;
  /** What the errors name as their `tensor`: the file inside a folder; default none. */
  tensor?: string;
  /**
   * True for a file whose own reader, in Rust, refuses Python's `NaN` and `Infinity` and halves of surrogate
   * pairs; default false.
   */
  plain?: boolean;
}

/**
 * Parses UTF-8 bytes that must hold one JSON object. Python's `NaN` and `Infinity` are numbers unless
 * `plain`. Otherwise stricter than `JSON.parse`: invalid UTF-8, a byte-order mark, a key given twice in one
 * object (`JSON.parse` silently keeps the last) and nesting deeper than 32 are errors too.
 *
 * @throws `source.code` naming the file and the problem.
 */
export function parseJsonObject(bytes: Uint8Array, source: JsonSource): Record<string, unknown> {
  const fail = (expected: string, got: string, cause?: unknown): never => {
    throw unmet(source.code, source.op, expected, got, { where: source.where, tensor: source.tensor, cause });
  };
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    fail('JSON in UTF-8', 'bytes that are not UTF-8', cause);
  }
  let value: unknown;
  try {
    const problem = jsonProblem(text);
    if (problem !== undefined) fail('JSON with unique keys, nested at most 32 deep', problem);
    value = source.plain === true ? JSON.parse(text) : parsePythonJson(text);
  } catch (cause) {
    if (cause instanceof ZayascopeError) throw cause;
    const found = sniffBytes(bytes.subarray(0, 4096), bytes.length, bytes.at(-1));
    const isText = found.kind === 'json' || found.kind === 'text' || found.kind === 'logits text';
    if (text.startsWith('\ufeff')) fail('JSON in UTF-8 without a byte-order mark', 'one at its start', cause);
    fail(
      'valid JSON',
      isText ? `a syntax error: ${(cause as Error).message.slice(0, 120)}` : describeFile(found),
      cause,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('a JSON object', describeValue(value));
  if (source.plain === true && /\\u[dD]/.test(text) && !hasWholeCharacters(value))
    fail('texts of whole characters', 'half of a surrogate pair');
  return value as Record<string, unknown>;
}

function hasWholeCharacters(value: unknown): boolean {
  if (typeof value === 'string') return !/\p{Surrogate}/u.test(value);
  if (Array.isArray(value)) return value.every(hasWholeCharacters);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, item]) => hasWholeCharacters(key) && hasWholeCharacters(item));
}

/**
 * The same value with `NaN`, `Infinity` and `-Infinity` as strings, for JSON, which would write null for
 * them.
 */
export function withoutNonFinite(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return value.map(withoutNonFinite);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutNonFinite(item)]));
}

/**
 * `JSON.parse` for what Python's `json` writes too: the numbers `NaN`, `Infinity` and `-Infinity`. Throws
 * `SyntaxError`.
 */
export function parsePythonJson(text: string): unknown {
  if (!/NaN|Infinity/.test(text)) return JSON.parse(text);
  // A string that the text does not hold stands for NaN; a number beyond all doubles is infinite.
  let mark = 'NaN';
  while (text.includes(`"${mark}"`)) mark += '_';
  let plain = '';
  let done = 0;
  let found = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfString(text, at);
    else if (text.startsWith('NaN', at) || text.startsWith('Infinity', at)) {
      const notANumber = text[at] === 'N';
      plain += text.slice(done, at) + (notANumber ? `"${mark}"` : '1e999');
      at += (notANumber ? 'NaN' : 'Infinity').length - 1;
      done = at + 1;
      found = true;
    }
  }
  if (!found) return JSON.parse(text);
  return JSON.parse(plain + text.slice(done), (_, value: unknown) => (value === mark ? Number.NaN : value));
}
