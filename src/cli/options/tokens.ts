import { describeValue } from '../../describe-value.js';
import { looksLike64Bits, TOKENS_OF_64_BITS } from '../../dump/import/token-words.js';
import { badArgument, type ZayascopeError } from '../../errors.js';
import { jsonProblem } from '../../field-check.js';
import { utf8Text } from '../../utf8.js';
import { readSmallFile } from '../../weights/file-access.js';
import { sniffBytes, wrongKind } from '../../weights/formats/file-kind.js';
import { parsePythonJson } from '../../weights/json-object.js';

const OP = 'readTokens';
/** A million ids of seven digits fit. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_TOKEN = 2 ** 31 - 1;
const MAX_BINARY_TOKEN = 2 ** 24;

/**
 * Token ids written as integers with commas or white space between them, e.g. `5,17,9`.
 * @param where names the source in errors. @throws `BAD_ARGUMENT` naming the first entry that is no id, or
 * for no id at all.
 */
export function parseTokens(text: string, where: string): number[] {
  const entries = text.split(/[\s,]+/).filter((entry) => entry !== '');
  const empty = /^\s*,|,\s*,/.exec(text);
  if (empty !== null && entries.length > 0)
    throw bad('token ids with one comma between them', 'a comma without an id before it', where);
  return checkTokens(
    entries.map((entry) => (/^\d+$/.test(entry) ? Number(entry) : entry)),
    where,
  );
}

/**
 * Sequences of token ids from a file: integers as in {@link parseTokens}, a JSON array of them (one sequence)
 * or of such arrays (several), a JSON object with one sequence as `tokens` or several as `sequences` or
 * either as `input_ids` (what a tokenizer of transformers gives), or I32 as llama.cpp's scripts write them
 * (`NAME-tokens.bin`).
 * @throws `IO` for a file that cannot be read, `BAD_ARGUMENT` for other content, saying what it is.
 */
export async function readSequences(file: string): Promise<number[][]> {
  const bytes = await readSmallFile(OP, file, MAX_FILE_BYTES);
  const found = sniffBytes(bytes.subarray(0, 4096), bytes.length, bytes.at(-1));
  if (found.kind === 'binary' && bytes.length % 4 === 0) {
    const ids = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    // Damaged text is numbers of four letters each: no vocabulary has so many.
    const at = ids.findIndex((id) => id >= MAX_BINARY_TOKEN);
    if (at >= 0)
      throw bad(
        `I32 token ids below ${MAX_BINARY_TOKEN}, or text in UTF-8`,
        `${ids[at]} at position ${at}`,
        file,
      );
    if (looksLike64Bits(ids)) throw bad('token ids as I32, text or JSON', TOKENS_OF_64_BITS, file);
    return [checkTokens([...ids], file)];
  }
  if (found.kind !== 'json' && found.kind !== 'text' && found.kind !== 'empty')
    throw wrongKind('BAD_ARGUMENT', OP, 'token ids as text, JSON or I32', found, file);
  const text = utf8Text(bytes)?.trim();
  if (text === undefined) throw bad('text in UTF-8', 'other bytes', file);
  if (!text.startsWith('[') && !text.startsWith('{')) return [parseTokens(text, file)];
  let value: unknown;
  let problem: string | undefined;
  try {
    problem = jsonProblem(text);
    value = parsePythonJson(text);
  } catch (cause) {
    throw bad('valid JSON', `a syntax error: ${(cause as Error).message}`, file);
  }
  if (problem !== undefined) throw bad('JSON with unique keys, nested at most 32 deep', problem, file);
  if (Array.isArray(value)) return sequencesOf(value, file);
  const object = value as Record<string, unknown>;
  const [key, ...more] = ['tokens', 'sequences', 'input_ids'].filter((each) => Array.isArray(object[each]));
  if (key !== undefined && more.length === 0) {
    const list = object[key] as unknown[];
    checkMask(object.attention_mask, file);
    return key === 'tokens'
      ? [checkTokens(list, file)]
      : key === 'sequences'
        ? checkSequences(list, file)
        : sequencesOf(list, file);
  }
  throw bad(
    'an array of token ids or of such arrays, or an object with either one as `tokens`, several as `sequences`, or `input_ids`',
    key === undefined ? 'none of these' : `an object with ${[key, ...more].join(' and ')}`,
    file,
  );
}

function sequencesOf(list: readonly unknown[], file: string): number[][] {
  return list.some(Array.isArray) ? checkSequences(list, file) : [checkTokens(list, file)];
}

/** Padding of a tokenizer's batch is no token that was meant. */
function checkMask(mask: unknown, file: string): void {
  if (Array.isArray(mask) && mask.flat().some((entry) => entry !== 1))
    throw bad('an attention_mask of ones (token ids without padding)', 'one that masks tokens', file);
}

/** The only sequence of a file that {@link readSequences} reads. @throws also `BAD_ARGUMENT` for several. */
export async function readTokenFile(file: string): Promise<number[]> {
  const [tokens, ...more] = await readSequences(file);
  if (more.length > 0) throw bad('a single sequence of token ids', `${more.length + 1}`, file);
  return tokens!;
}

function checkSequences(entries: readonly unknown[], where: string): number[][] {
  if (entries.length === 0) throw bad('at least one sequence', 'none', where);
  return entries.map((entry, index) => {
    if (Array.isArray(entry)) return checkTokens(entry, `sequence ${index} of ${where}`);
    throw bad('an array of token ids', `${describeValue(entry)} as sequence ${index}`, where);
  });
}

function checkTokens(entries: readonly unknown[], where: string): number[] {
  if (entries.length === 0) throw bad('at least one token id', 'none', where);
  const at = entries.findIndex((entry) => !isToken(entry));
  if (at >= 0)
    throw bad(
      `token ids (integers from 0 to ${MAX_TOKEN})`,
      `${describeValue(entries[at])} at position ${at}`,
      where,
    );
  return entries as number[];
}

function isToken(entry: unknown): boolean {
  return Number.isInteger(entry) && (entry as number) >= 0 && (entry as number) <= MAX_TOKEN;
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
