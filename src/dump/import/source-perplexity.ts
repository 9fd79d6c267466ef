/**
 * What `llama-perplexity --kl-divergence-base FILE` (earlier `--save-all-logits`) writes: the text's tokens
 * in chunks, and for the second half of each chunk the log-probabilities of all tokens, clipped 16 nats below
 * the likeliest and rounded to 65,536 steps.
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity/perplexity.cpp
 *
 * The file: `_logits_`, I32 context length n, I32 vocabulary V, I32 chunks, I32 [chunks, n] token ids; then
 * per chunk n - 1 - floor(n / 2) rows, from position floor(n / 2) on, of F32 step, F32 least log-probability
 * and uint16 [V rounded up to even] steps above it.
 */

import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../../regular-file.js';
import { fileSizeBytes, ioError, readInto, withFile } from '../../weights/file-access.js';
import { sniffFile } from '../../weights/formats/file-kind.js';
import { importError } from './foreign.js';

const OP = 'openLogits';
const MARK_BYTES = 8;
const HEADER_BYTES = MARK_BYTES + 12;
const MAX_COUNT = 2 ** 31 - 1;

/** The nats below the likeliest token at which the program clips. */
export const PERPLEXITY_RANGE = 16;

/** An open file of log-probabilities. */
export interface PerplexityFile extends AsyncDisposable {
  /**
   * Tokens of each chunk. Where the model has a bos token, the program fed it in place of each chunk's first.
   */
  chunks: readonly (readonly number[])[];
  vocabulary: number;
  /** Chunk and position of each row. */
  rows: readonly { sequence: number; position: number }[];
  /** Log-probabilities F32 [V] of a row. */
  read(row: number): Promise<Float32Array>;
}

/** True if a file begins as llama-perplexity's do. Throws `IO`. */
export async function isPerplexityFile(path: string): Promise<boolean> {
  return (await sniffFile(OP, path)).kind === 'llama-perplexity';
}

/**
 * Opens such a file. Every size is checked against the file first.
 * @throws `BAD_DUMP` for a malformed or cut file, `IO`.
 */
export async function openPerplexityFile(path: string): Promise<PerplexityFile> {
  const sizeBytes = await fileSizeBytes(OP, path);
  if (sizeBytes < HEADER_BYTES)
    throw importError('BAD_DUMP', 'context length, vocabulary and chunks', `${sizeBytes} bytes`, path);
  const header = new Int32Array(HEADER_BYTES / 4);
  await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, new Uint8Array(header.buffer)));
  const [context, vocabulary, count] = header.subarray(MARK_BYTES / 4) as unknown as [number, number, number];
  const isCount = (value: number): boolean => value >= 1 && value <= MAX_COUNT;
  if (!isCount(context) || !isCount(vocabulary) || !isCount(count) || context < 3)
    throw importError(
      'BAD_DUMP',
      'a context length, vocabulary and number of chunks',
      `${context}, ${vocabulary} and ${count}`,
      path,
    );
  const first = Math.floor(context / 2);
  const perChunk = context - 1 - first;
  const rowBytes = 2 * (2 * Math.floor((vocabulary + 1) / 2) + 4);
  const dataOffset = HEADER_BYTES + 4 * count * context;
  const expected = dataOffset + count * perChunk * rowBytes;
  if (sizeBytes !== expected)
    throw importError(
      'BAD_DUMP',
      `${expected} bytes of ${count} chunks of ${context} tokens`,
      `${sizeBytes} (an unfinished run?)`,
      path,
    );
  const handle = await openRegularFile(path).catch((cause: unknown) => {
    throw ioError(OP, 'a readable file', path, cause);
  });
  try {
    const ids = new Int32Array(count * context);
    await readInto(OP, handle, path, HEADER_BYTES, new Uint8Array(ids.buffer));
    const chunks = Array.from({ length: count }, (_, chunk) => [
      ...ids.subarray(chunk * context, (chunk + 1) * context),
    ]);
    const rows = chunks.flatMap((_, sequence) =>
      Array.from({ length: perChunk }, (__, row) => ({ sequence, position: first + row })),
    );
    return {
      chunks,
      vocabulary,
      rows,
      read: (row) => readRow(handle, path, dataOffset + row * rowBytes, rowBytes, vocabulary),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readRow(
  handle: FileHandle,
  path: string,
  offset: number,
  rowBytes: number,
  vocabulary: number,
): Promise<Float32Array> {
  const bytes = new Uint8Array(rowBytes);
  await readInto(OP, handle, path, offset, bytes);
  const [step, least] = new Float32Array(bytes.buffer, 0, 2) as unknown as [number, number];
  const steps = new Uint16Array(bytes.buffer, 8, vocabulary);
  // In F32, as the program itself reads them back.
  return Float32Array.from(steps, (value) => Math.fround(Math.fround(step * value) + least));
}
