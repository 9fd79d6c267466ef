import { ZayascopeError } from '../../errors.js';
import { readSmallFile } from '../../weights/file-access.js';

const OP = 'readTokens';
/** A million ids of seven digits fit. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_TOKEN = 2 ** 31 - 1;

/**
 * Token ids written as integers with commas or white space between them, e.g. `5,17,9`.
 * @param where names the source in errors. @throws `BAD_ARGUMENT` naming the first entry that is no id, or for no id at all.
 */
export function parseTokens(text: string, where: string): number[] {
  const entries = text.split(/[\s,]+/).filter((entry) => entry !== '');
  return checkTokens(
    entries.map((entry) => (/^\d+$/.test(entry) ? Number(entry) : entry)),
    where,
  );
}

/**
 * Sequences of token ids from a file: integers as in {@link parseTokens}, a JSON array of them (one sequence) or of such arrays (several), or a JSON object with one sequence as `tokens`
 * or several as `sequences`.
 * @throws `IO` for a file that cannot be read, `BAD_ARGUMENT` for other content.
 */
export async function readSequences(file: string): Promise<number[][]> {
  const text = new TextDecoder().decode(await readSmallFile(OP, file, MAX_FILE_BYTES)).trim();
  if (!text.startsWith('[') && !text.startsWith('{')) return [parseTokens(text, file)];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad('valid JSON', `a syntax error: ${(cause as Error).message}`, file);
  }
  if (Array.isArray(value))
    return value.some(Array.isArray) ? checkSequences(value, file) : [checkTokens(value, file)];
  const { tokens, sequences } = value as { tokens?: unknown; sequences?: unknown };
  if (Array.isArray(tokens) && sequences === undefined) return [checkTokens(tokens, file)];
  if (Array.isArray(sequences) && tokens === undefined) return checkSequences(sequences, file);
  throw bad(
    'an array of token ids or of such arrays, or an object with either one as `tokens` or several as `sequences`',
    tokens !== undefined && sequences !== undefined ? 'an object with both' : 'neither',
    file,
  );
}

/** The only sequence of a file that {@link readSequences} reads. @throws also `BAD_ARGUMENT` for several. */
export async function readTokens(file: string): Promise<number[]> {
  const [tokens, ...more] = await readSequences(file);
  if (more.length > 0) throw bad('a single sequence of token ids', `${more.length + 1}`, file);
  return tokens!;
}

function checkSequences(entries: readonly unknown[], where: string): number[][] {
  if (entries.length === 0) throw bad('at least one sequence', 'none', where);
  return entries.map((entry, index) => {
    if (Array.isArray(entry)) return checkTokens(entry, `sequence ${index} of ${where}`);
    throw bad('an array of token ids', `${JSON.stringify(entry)} as sequence ${index}`, where);
  });
}

function checkTokens(entries: readonly unknown[], where: string): number[] {
  if (entries.length === 0) throw bad('at least one token id', 'none', where);
  const at = entries.findIndex((entry) => !isToken(entry));
  if (at >= 0)
    throw bad('token ids (integers from 0)', `${JSON.stringify(entries[at])} at position ${at}`, where);
  return entries as number[];
}

function isToken(entry: unknown): boolean {
  return Number.isInteger(entry) && (entry as number) >= 0 && (entry as number) <= MAX_TOKEN;
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `${OP}: expected ${expected}, got ${got} (${where})`, {
    op: OP,
    tensor: where,
  });
}
