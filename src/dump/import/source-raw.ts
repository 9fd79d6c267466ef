import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileSizeBytes, readInto, readSmallFile, withFile } from '../../weights/file-access.js';
import { type ForeignSource, importError } from './foreign.js';

const OP = 'importDump';
const MAX_TOKENS_BYTES = 64 * 1024 * 1024;

/**
 * Opens logits as llama.cpp's model-conversion scripts write them: little-endian F32 in `NAME.bin`, token ids as I32 in `NAME-tokens.bin` beside it where there is one.
 * The only value is `lm_head`; its rows are those of the sequence's last tokens.
 *
 * @param vocabulary logits of one token; default: the file is one token's.
 * @throws `BAD_ARGUMENT` for a size that does not fit, `IO`. https://github.com/ggml-org/llama.cpp/tree/master/examples/model-conversion
 */
export async function openRawLogits(path: string, vocabulary?: number): Promise<ForeignSource> {
  const sizeBytes = await fileSizeBytes(OP, path);
  const width = vocabulary ?? sizeBytes / 4;
  const rows = sizeBytes / 4 / width;
  if (sizeBytes === 0 || !Number.isInteger(width) || !Number.isInteger(rows))
    throw importError(
      'BAD_ARGUMENT',
      vocabulary === undefined ? 'F32 values' : `rows of ${vocabulary} F32 values`,
      `${sizeBytes} bytes`,
      path,
    );
  const tokens = await tokensBeside(path);
  return {
    kind: 'raw logits',
    name: basename(path),
    values: [
      {
        name: 'lm_head',
        step: 0,
        dtype: 'F32',
        shape: [rows, width],
        async read() {
          const bytes = new Uint8Array(sizeBytes);
          await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, bytes));
          return bytes;
        },
      },
    ],
    steps: [{ count: rows, ...(tokens === undefined ? {} : { tokens }) }],
    mayLackFirstRows: true,
    producer: {},
    notes: [],
    [Symbol.asyncDispose]: async () => {},
  };
}

async function tokensBeside(path: string): Promise<number[] | undefined> {
  const beside = path.replace(/(\.bin)?$/, '-tokens.bin');
  if ((await stat(beside).catch(() => undefined)) === undefined) return undefined;
  const bytes = await readSmallFile(OP, beside, MAX_TOKENS_BYTES);
  if (bytes.length === 0 || bytes.length % 4 !== 0)
    throw importError('BAD_ARGUMENT', 'token ids as I32', `${bytes.length} bytes`, beside);
  return [...new Int32Array(bytes.buffer)];
}
