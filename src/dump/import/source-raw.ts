import { basename } from 'node:path';
import { utf8Text } from '../../utf8.js';
import { readInto, readSmallFile, withFile } from '../../weights/file-access.js';
import { readsFrom } from './file-values.js';
import { type ForeignSource, type ForeignValue, foreignBytes, importError } from './foreign.js';
import { notFloat32, RAW_DTYPES, type RawDtype } from './raw-dtype.js';
import { tokensBeside } from './tokens-beside.js';

const OP = 'importDump';
const MAX_TEXT_BYTES = 256 * 1024 * 1024;
/** Logits of one token: far more than any vocabulary. */
const MAX_VOCABULARY = 1 << 24;
/** Groups of 8 bytes looked at to tell other dtypes from F32. */
const PROBED = 4096;

/**
 * Opens logits as llama.cpp's model-conversion scripts write them: little-endian F32 in `NAME.bin`, token ids
 * as I32 in `NAME-tokens.bin` beside it where there is one. The only value is `lm_head`; its rows are those
 * of the sequence's last tokens. Nothing in such a file says what it is: the caller has made sure that it is
 * nothing else.
 *
 * @param vocabulary logits of one token; default: the file is one token's.
 * @param dtype what the elements are. Default: F32, unless their bits show that they are something else.
 * @throws `BAD_ARGUMENT` for a size that does not fit and for values that are plainly of another dtype; `IO`.
 * https://github.com/ggml-org/llama.cpp/tree/master/examples/model-conversion
 */
export async function openRawLogits(
  path: string,
  sizeBytes: number,
  vocabulary?: number,
  dtype?: RawDtype,
): Promise<ForeignSource> {
  const type = dtype ?? 'F32';
  const width = vocabulary ?? sizeBytes / foreignBytes(type);
  const rows = sizeBytes / foreignBytes(type) / width;
  if (sizeBytes === 0 || !Number.isInteger(width) || !Number.isInteger(rows))
    throw importError(
      'BAD_ARGUMENT',
      vocabulary === undefined ? `${type} values` : `rows of ${vocabulary} ${type} values`,
      `${sizeBytes} bytes${dtype === undefined && sizeBytes % 4 === 2 ? ' (of 2 bytes each? --dtype bf16 or f16)' : ''}`,
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
  if (dtype === undefined) await refuseOthers(path, sizeBytes);
  return rawSource('raw logits', path, await tokensBeside(OP, path), {
    name: 'lm_head',
    step: 0,
    dtype: type,
    shape: [rows, width],
    ...readsFrom(path, 0, sizeBytes),
  });
}

/**
 * Opens the text that the scripts write beside the binary file: a line `index: logit` for each logit of one
 * token; the scripts round it to six decimals. Otherwise as {@link openRawLogits}.
 */
export async function openTextLogits(path: string): Promise<ForeignSource> {
  const text = utf8Text(await readSmallFile(OP, path, MAX_TEXT_BYTES));
  if (text === undefined) throw importError('BAD_ARGUMENT', 'text in UTF-8', 'other bytes', path);
  const values: number[] = [];
  const digits = new WrittenDigits();
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
    const number = numberOf(value.toLowerCase());
    if (/^[-+]?\d/.test(value) && !Number.isFinite(Math.fround(number)))
      throw importError('BAD_ARGUMENT', `a logit that F32 can hold in line ${line + 1}`, value, path);
    values.push(number);
    digits.add(value.toLowerCase());
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
    precisionNotes(digits),
  );
}

/** How precisely numbers are written: decimals where one has no exponent, else significant digits. */
class WrittenDigits {
  decimals: number | undefined;
  significant: number | undefined;

  add(text: string): void {
    const [, whole, fraction = '', exponent] = /^[-+]?(\d+)(?:\.(\d*))?(e.*)?$/.exec(text) ?? [];
    if (whole === undefined) return;
    if (exponent === undefined) this.decimals = Math.max(this.decimals ?? 0, fraction.length);
    const all = `${whole}${fraction}`.replace(/^0+/, '').length;
    if (exponent !== undefined) this.significant = Math.max(this.significant ?? 0, all);
  }
}

/** Nine significant digits hold any F32. */
function precisionNotes({ decimals, significant }: WrittenDigits): string[] {
  if (decimals !== undefined)
    return [
      `Logits of the text file have ${decimals} decimals${significant === undefined ? '' : ' where they have no exponent'}.`,
    ];
  return significant === undefined || significant >= 9
    ? []
    : [`Logits of the text file have ${significant} significant digits.`];
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

/** Other values than F32: misread, they may compare as well as right ones. */
async function refuseOthers(path: string, sizeBytes: number): Promise<void> {
  const bytes = new Uint8Array(Math.min(sizeBytes - (sizeBytes % 8), 8 * PROBED));
  await withFile(OP, path, (handle) => readInto(OP, handle, path, 0, bytes));
  const found = notFloat32(bytes);
  if (found !== undefined)
    throw importError(
      'BAD_ARGUMENT',
      'F32 values',
      `values that are ${found}; --dtype says what a file holds (${RAW_DTYPES.join(', ').toLowerCase()})`,
      path,
    );
}
