import { basename } from 'node:path';
import { utf8Text } from '../../utf8.js';
import { readInto, readSmallFile, withFile } from '../../weights/file-access.js';
import { readsFrom } from './file-values.js';
import { type ForeignSource, type ForeignValue, importError } from './foreign.js';
import { tokensBeside } from './tokens-beside.js';

const OP = 'importDump';
const MAX_TEXT_BYTES = 256 * 1024 * 1024;
/** Logits of one token: far more than any vocabulary. */
const MAX_VOCABULARY = 1 << 24;
/** Values looked at to tell F64 from F32. */
const PROBED = 4096;

/**
 * Opens logits as llama.cpp's model-conversion scripts write them: little-endian F32 in `NAME.bin`, token ids
 * as I32 in `NAME-tokens.bin` beside it where there is one. The only value is `lm_head`; its rows are those
 * of the sequence's last tokens. Nothing in such a file says what it is: the caller has made sure that it is
 * nothing else.
 *
 * @param vocabulary logits of one token; default: the file is one token's.
 * @throws `BAD_ARGUMENT` for a size that does not fit and for values that are plainly F64, `IO`.
 * https://github.com/ggml-org/llama.cpp/tree/master/examples/model-conversion
 */
export async function openRawLogits(
  path: string,
  sizeBytes: number,
  vocabulary?: number,
): Promise<ForeignSource> {
  const width = vocabulary ?? sizeBytes / 4;
  const rows = sizeBytes / 4 / width;
  if (sizeBytes === 0 || !Number.isInteger(width) || !Number.isInteger(rows))
    throw importError(
      'BAD_ARGUMENT',
      vocabulary === undefined ? 'F32 values' : `rows of ${vocabulary} F32 values`,
      `${sizeBytes} bytes`,
      path,
    );
  if (width > MAX_VOCABULARY)
    throw importError(
      'BAD_ARGUMENT',
      `logits of one token, at most ${MAX_VOCABULARY} (--vocabulary says how many where a file holds several tokens')`,
      `${width} values`,
      path,
    );
  await refuseArchive(path, sizeBytes);
  await refuseDoubles(path, sizeBytes);
  return rawSource('raw logits', path, await tokensBeside(OP, path), {
    name: 'lm_head',
    step: 0,
    dtype: 'F32',
    shape: [rows, width],
    ...readsFrom(path, 0, sizeBytes),
  });
}

/**
 * Opens the text that the scripts write beside the binary file: a line `index: logit` for each logit of one
 * token, rounded to six decimals. Otherwise as {@link openRawLogits}.
 */
export async function openTextLogits(path: string): Promise<ForeignSource> {
  const text = utf8Text(await readSmallFile(OP, path, MAX_TEXT_BYTES));
  if (text === undefined) throw importError('BAD_ARGUMENT', 'text in UTF-8', 'other bytes', path);
  const values: number[] = [];
  for (const [line, entry] of text.trimEnd().split(/\r?\n/).entries()) {
    const [, index, value] =
      /^(\d+): *([-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|inf(?:inity)?|nan))$/i.exec(entry) ?? [];
    if (value === undefined || Number(index) !== line)
      throw importError(
        'BAD_ARGUMENT',
        `'${line}: LOGIT' in line ${line + 1}`,
        JSON.stringify(entry.slice(0, 60)),
        path,
      );
    values.push(numberOf(value.toLowerCase()));
  }
  const data = Float32Array.from(values);
  return rawSource(
    'logits text',
    path,
    await tokensBeside(OP, path),
    {
      name: 'lm_head',
      step: 0,
      dtype: 'F32',
      shape: [1, data.length],
      read: async () => new Uint8Array(data.slice().buffer),
    },
    ['Logits of a text file have six decimals.'],
  );
}

function numberOf(text: string): number {
  if (text.endsWith('nan')) return Number.NaN;
  if (text.includes('inf')) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

function rawSource(
  kind: string,
  path: string,
  tokens: readonly number[] | undefined,
  value: ForeignValue,
  notes: readonly string[] = [],
): ForeignSource {
  return {
    kind,
    name: basename(path),
    values: [value],
    steps: [{ count: value.shape[0]!, ...(tokens === undefined ? {} : { tokens }) }],
    mayLackFirstRows: true,
    producer: {},
    notes,
    [Symbol.asyncDispose]: async () => {},
  };
}

/**
 * The end of a zip archive (PyTorch, npz) whose first bytes, which would have told what it is, are damaged.
 */
async function refuseArchive(path: string, sizeBytes: number): Promise<void> {
  const tail = new Uint8Array(Math.min(sizeBytes, 22));
  await withFile(OP, path, (handle) => readInto(OP, handle, path, sizeBytes - tail.length, tail));
  if (Buffer.from(tail.subarray(0, 4)).toString('latin1') === 'PK\x05\x06')
    throw importError('BAD_ARGUMENT', 'F32 values', 'a zip archive whose start is damaged', path);
}

/**
 * Doubles read as floats: every second "float" is the low half of a mantissa, anything from 1e-38 to 1e38,
 * while all doubles are of the size of logits.
 */
async function refuseDoubles(path: string, sizeBytes: number): Promise<void> {
  if (sizeBytes < 128 || sizeBytes % 8 !== 0) return;
  const bytes = new Uint8Array(Math.min(sizeBytes, 8 * PROBED));
  await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, bytes));
  const isOrdinary = (value: number): boolean =>
    value === 0 || (Math.abs(value) > 1e-12 && Math.abs(value) < 1e6);
  const strange = new Float32Array(bytes.buffer).filter((value) => !isOrdinary(value)).length;
  if (strange * 8 > bytes.length / 4 && new Float64Array(bytes.buffer).every(isOrdinary))
    throw importError(
      'BAD_ARGUMENT',
      'F32 values',
      'values that are F64 by their bits; save them as float32',
      path,
    );
}
