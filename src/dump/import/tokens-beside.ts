import { stat } from 'node:fs/promises';
import { badArgument } from '../../errors.js';
import { readSmallFile } from '../../weights/file-access.js';
import { sniffBytes, wrongKind } from '../../weights/formats/file-kind.js';
import { looksLike64Bits, TOKENS_OF_64_BITS } from './token-words.js';

const MAX_TOKENS_BYTES = 64 * 1024 * 1024;
/** Far more than any vocabulary; text or floats read as integers are beyond it. */
const MAX_TOKEN = 2 ** 24;

/**
 * Token ids of `NAME-tokens.bin` beside `NAME.bin` (or another extension), I32 as llama.cpp's
 * model-conversion scripts write them; undefined where there is no such file.
 * @throws `BAD_ARGUMENT` for content that cannot be ids, `IO`; in the name of `op`.
 */
export async function tokensBeside(op: string, path: string): Promise<number[] | undefined> {
  const beside = `${path.replace(/\.(bin|txt|npy|npz|safetensors|pt|pth)$/, '')}-tokens.bin`;
  if ((await stat(beside).catch(() => undefined)) === undefined) return undefined;
  const bytes = await readSmallFile(op, beside, MAX_TOKENS_BYTES);
  const found = sniffBytes(bytes.subarray(0, 4096), bytes.length, bytes.at(-1));
  if (found.kind !== 'binary') throw wrongKind('BAD_ARGUMENT', op, 'token ids as I32', found, beside);
  const words = bytes.length % 4 === 0 ? new Int32Array(bytes.buffer) : undefined;
  if (words !== undefined && looksLike64Bits(words))
    throw badArgument(op, 'token ids as I32', TOKENS_OF_64_BITS, beside);
  const ids = words && [...words];
  const wrong = ids?.find((id) => id < 0 || id >= MAX_TOKEN);
  if (ids === undefined || wrong !== undefined)
    throw badArgument(
      op,
      'token ids as I32',
      wrong === undefined ? `${bytes.length} bytes` : `the id ${wrong}`,
      beside,
    );
  return ids;
}
