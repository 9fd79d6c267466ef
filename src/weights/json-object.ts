import { type ErrorCode, ZayascopeError } from '../errors.js';
import { describeValue } from './describe-value.js';

/** What the files that this library reads may nest: far above any real header, far below what could exhaust memory. */
const MAX_DEPTH = 32;

/** Where a JSON text came from, for its error messages. */
export interface JsonSource {
  /** Code of the errors that a malformed text causes. */
  code: ErrorCode;
  /** The operation that reads the text. */
  op: string;
  /** The file (and part of it) that holds the text. */
  where: string;
}

/**
 * Parses UTF-8 bytes that must hold one JSON object. Stricter than `JSON.parse`: invalid UTF-8, a byte-order mark, a key given twice in
 * one object (`JSON.parse` silently keeps the last) and nesting deeper than 32 are errors too.
 *
 * @throws `source.code` naming the file and the problem.
 */
export function parseJsonObject(bytes: Uint8Array, source: JsonSource): Record<string, unknown> {
  const fail = (expected: string, got: string, cause?: unknown): never => {
    throw new ZayascopeError(
      source.code,
      `${source.op}: expected ${expected}, got ${got} (${source.where})`,
      {
        op: source.op,
        cause,
      },
    );
  };
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    fail('JSON in UTF-8', 'bytes that are not UTF-8', cause);
  }
  let value: unknown;
  try {
    const problem = scanKeys(text);
    if (problem !== undefined) fail('JSON with unique keys, nested at most 32 deep', problem);
    value = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof ZayascopeError) throw cause;
    fail('valid JSON', `a syntax error: ${(cause as Error).message.slice(0, 120)}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('a JSON object', describeValue(value));
  return value as Record<string, unknown>;
}

/**
 * Looks for duplicate keys and excessive nesting before the text is parsed. It needs no valid JSON: what it misreads in an invalid text,
 * `JSON.parse` rejects afterwards.
 */
function scanKeys(text: string): string | undefined {
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

/** Index of the quote that closes the string opened at `start`, or the last index of a text that ends inside it. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return text.length - 1;
}
