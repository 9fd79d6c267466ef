/** JSON files of a dump's folder: written whole or not at all, read within bounds. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorCode, unmet, ZayascopeError } from '../errors.js';
import { openRegularFile } from '../regular-file.js';
import { utf8Text } from '../utf8.js';
import { parsePythonJson } from '../weights/json-object.js';

/** Far above any model's graph or noise floor, below what one string can hold. */
const MAX_BYTES = 2 ** 28;

/** What a file is called while it is written; a killed process may leave it. */
export function temporaryName(file: string): string {
  return `.${file}.tmp`;
}

/**
 * Writes a file so that it is at all times either the old or the new one, whole. Throws `IO`.
 * @param what it is, for the error.
 */
export async function writeJsonFile(
  dir: string,
  file: string,
  text: string,
  { op, what }: { op: string; what: string },
): Promise<void> {
  const temporary = join(dir, temporaryName(file));
  try {
    await writeFile(temporary, `${text}\n`);
    await rename(temporary, join(dir, file));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    const got = cause instanceof Error ? cause.message : String(cause);
    throw unmet('IO', op, `to write the ${what}`, got, { where: `${dir}/${file}`, tensor: file, cause });
  }
}

/** Reads a file. Throws `IO` where it cannot be read, `BAD_DUMP` where it is no JSON. */
export async function readJsonFile(dir: string, file: string, op: string): Promise<unknown> {
  const fail = (code: ErrorCode, expected: string, got: string, cause?: unknown) =>
    unmet(code, op, expected, got, { where: `${dir}/${file}`, tensor: file, cause });
  let text: string | undefined;
  try {
    const handle = await openRegularFile(join(dir, file));
    try {
      const { size } = await handle.stat();
      if (size > MAX_BYTES) throw new Error(`${size} bytes, more than ${MAX_BYTES}`);
      text = utf8Text(await handle.readFile());
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof ZayascopeError) throw cause;
    throw fail('IO', `a readable ${file}`, (cause as Error).message, cause);
  }
  if (text === undefined) throw fail('BAD_DUMP', 'JSON', 'bytes that are not UTF-8');
  try {
    return parsePythonJson(text);
  } catch (cause) {
    throw fail('BAD_DUMP', 'JSON', (cause as Error).message, cause);
  }
}
