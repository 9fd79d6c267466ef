import { open, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { toFloat32 } from '../../dump/float.js';
import { MANIFEST_FILE } from '../../dump/format.js';
import { Dump } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';

const OP = 'verifyLogits';
const TAP = 'lm_head';
const MAX_TOKENS_BYTES = 64 * 1024 * 1024;

/** Logits of one side, read row by row. */
export interface LogitsSource extends AsyncDisposable {
  /** Basename of the dump or file. */
  readonly name: string;
  readonly kind: 'dump' | 'raw file';
  /** Token ids by sequence; undefined where none came with the logits. */
  readonly tokens: readonly (readonly number[])[] | undefined;
  /** Length V of a row. */
  readonly vocabulary: number;
  /** The rows there are. A raw file with a single row and no tokens does not know its position: -1. */
  readonly rows: readonly LogitsRow[];
  /** Logits F32 [V] of entry `index` of {@link rows}. */
  read(index: number): Promise<Float32Array>;
}

/** Where a row of logits stands. */
export interface LogitsRow {
  sequence: number;
  position: number;
}

/**
 * Opens logits: a dump that holds `lm_head`, or a raw file of little-endian F32 as llama.cpp's model-conversion scripts write it (`data/pytorch-NAME.bin`,
 * `data/llamacpp-NAME.bin`: the last token's logits), with token ids as I32 in `NAME-tokens.bin` beside it, where there is one.
 * https://github.com/ggml-org/llama.cpp/tree/master/examples/model-conversion
 *
 * @param vocabulary length of a row of a raw file that holds the logits of several tokens; default: the file is one row.
 * @throws `IO` for what cannot be read; `BAD_DUMP`; `BAD_ARGUMENT` for a dump without logits and for a file whose size does not fit.
 */
export async function openLogits(path: string, vocabulary?: number): Promise<LogitsSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError('a dump or a raw file of F32 logits', String((cause as Error).message), path, cause);
  });
  if (found.isDirectory()) return openDump(path);
  return openRaw(path, found.size, vocabulary);
}

async function openDump(path: string): Promise<LogitsSource> {
  const dump = await Dump.open(path);
  try {
    const tap = dump.taps.find(({ name }) => name === TAP);
    if (tap === undefined || tap.shape.length !== 1 || tap.shape[0] === null)
      throw bad(`a dump with ${TAP}, the logits`, 'one without', join(path, MANIFEST_FILE));
    const { sequence, position } = await dump.rows(TAP);
    // A position that was computed twice (after a truncation) counts as it was computed last.
    const latest = new Map<string, number>();
    for (let row = 0; row < position.length; row++) latest.set(`${sequence[row]} ${position[row]}`, row);
    const places = [...latest.values()];
    return {
      name: basename(resolve(path)),
      kind: 'dump',
      tokens: dump.manifest.sequences.map(({ tokens }) => tokens),
      vocabulary: tap.shape[0]!,
      rows: places.map((row) => ({ sequence: sequence[row]!, position: position[row]! })),
      async read(index) {
        const row = places[index]!;
        const batch = await dump.readRows(TAP, row, row + 1);
        if (batch === undefined) throw bad(`a value in row ${row}`, 'none', path);
        return toFloat32(batch.data, batch.dtype);
      },
      [Symbol.asyncDispose]: () => dump.close(),
    };
  } catch (error) {
    await dump.close();
    throw error;
  }
}

async function openRaw(
  path: string,
  sizeBytes: number,
  rowLength: number | undefined,
): Promise<LogitsSource> {
  const vocabulary = rowLength ?? sizeBytes / 4;
  const count = sizeBytes / 4 / vocabulary;
  if (sizeBytes === 0 || !Number.isInteger(vocabulary) || !Number.isInteger(count))
    throw bad(
      rowLength === undefined ? 'F32 values' : `rows of ${rowLength} F32 values`,
      `${sizeBytes} bytes`,
      path,
    );
  const tokens = await readTokensBeside(path);
  if (tokens !== undefined && count > tokens.length)
    throw bad(`at most a row for each of the ${tokens.length} tokens`, `${count} rows`, path);
  // Fewer rows than tokens are those of the last ones.
  const first = tokens === undefined ? (count === 1 ? -1 : 0) : tokens.length - count;
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw ioError('a readable file', String((cause as Error).message), path, cause);
  });
  return {
    name: basename(resolve(path)),
    kind: 'raw file',
    tokens: tokens === undefined ? undefined : [tokens],
    vocabulary,
    rows: Array.from({ length: count }, (_, row) => ({ sequence: 0, position: first + row })),
    async read(index) {
      const values = new Float32Array(vocabulary);
      const bytes = new Uint8Array(values.buffer);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, index * bytes.length);
      if (bytesRead !== bytes.length)
        throw ioError(`${bytes.length} bytes of row ${index}`, `${bytesRead}`, path);
      return values;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** Ids in `<name>-tokens.bin` beside `<name>.bin`, I32. */
async function readTokensBeside(path: string): Promise<number[] | undefined> {
  const beside = path.replace(/(\.bin)?$/, '-tokens.bin');
  const found = await stat(beside).catch(() => undefined);
  if (found === undefined) return undefined;
  if (found.size === 0 || found.size % 4 !== 0 || found.size > MAX_TOKENS_BYTES)
    throw bad('token ids as I32', `${found.size} bytes`, beside);
  const file = await open(beside, 'r');
  try {
    const ids = new Int32Array(found.size / 4);
    await file.read(new Uint8Array(ids.buffer), 0, found.size, 0);
    return [...ids];
  } finally {
    await file.close();
  }
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `${OP}: expected ${expected}, got ${got} (${where})`, {
    op: OP,
    tensor: where,
  });
}

function ioError(expected: string, got: string, file: string, cause?: unknown): ZayascopeError {
  return new ZayascopeError('IO', `${OP}: expected ${expected}, got ${got} (${file})`, {
    op: OP,
    tensor: file,
    cause,
  });
}
