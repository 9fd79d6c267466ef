import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { DumpView } from '../../dump/dump-view.js';
import { isMasked, MANIFEST_FILE, type TapInfo } from '../../dump/format.js';
import type { RawDtype } from '../../dump/import/raw-dtype.js';
import {
  isPerplexityFile,
  openPerplexityFile,
  PERPLEXITY_RANGE,
} from '../../dump/import/source-perplexity.js';
import { Dump, ReusableBuffer } from '../../dump/reader.js';
import { knownTokens } from '../../dump/sequences.js';
import { badArgument, unmet, type ZayascopeError } from '../../errors.js';
import { explained } from '../../regular-file.js';
import { type Origin, originOf } from '../sides/side-by-side.js';
import { recordedNonFinite, type UnpairedNonFinite } from '../unpaired-non-finite.js';
import { openFileLogits } from './file-logits.js';
import { roundingNotes, roundLogits } from './round-logits.js';

const OP = 'verifyLogits';
/** The name that transformers gives the logits, for dumps that say nothing of roles. */
const USUAL_NAME = 'lm_head';

/** Logits of one side, read row by row. */
export interface LogitsSource extends AsyncDisposable {
  /** Basename of the dump or file. */
  readonly name: string;
  readonly kind: 'dump' | 'raw file' | 'perplexity file';
  /** Whose logits they are, where that is known. */
  readonly origin?: Origin;
  /** What a row is: log-probabilities lack the constant that a soft-max does not see. */
  readonly values: 'logits' | 'log-probabilities';
  /** What a user should know about how they were read. */
  readonly notes: readonly string[];
  /** Token ids by sequence; undefined where none came with the logits. */
  readonly tokens: readonly (readonly number[])[] | undefined;
  /** True where infinities are part of the logits by design. Default false. */
  readonly masked?: boolean;
  /** True where the producer did not finish: such a run passes nothing. Default false. */
  readonly partial?: boolean;
  /** What of the whole dump is not finite, as its statistics say. Not there where nothing else is known. */
  otherNonFinite?(allowNonFinite: boolean): Promise<UnpairedNonFinite>;
  /** Of a file in which nothing says what it holds: whether its dtype was given. Default: another file. */
  readonly unmarked?: { hasDtype: boolean };
  /** Length V of a row. */
  readonly vocabulary: number;
  /** The rows there are. A raw file with a single row and no tokens does not know its position: -1. */
  readonly rows: readonly LogitsRow[];
  /** Logits (or log-probabilities) F32 [V] of entry `index` of {@link rows}. */
  read(index: number): Promise<Float32Array>;
}

/** Where a row of logits stands. */
export interface LogitsRow {
  sequence: number;
  position: number;
}

/**
 * Opens logits, by what the path holds: a dump that holds logits (a tap of role `logits`, or `lm_head` where
 * the dump states no roles); a file of llama-perplexity; or any file that `import` reads, with one value of
 * floats or one named `lm_head`, `logits` or `result_output`, among them the raw little-endian F32 of
 * llama.cpp's model-conversion scripts (`data/pytorch-NAME.bin`, `data/llamacpp-NAME.bin`: the last token's
 * logits) and their text. Token ids are taken from `NAME-tokens.bin` beside the file (I32), or from a value
 * `tokens` or `input_ids` in it. https://github.com/ggml-org/llama.cpp/tree/master/examples/model-conversion
 *
 * @param vocabulary length of a row of a raw file that holds the logits of several tokens; default: the file
 * is one row.
 * @param rawDtype what a raw file holds. Default: F32; what its bits show to be another dtype is refused.
 * @throws `IO` for what cannot be read; `BAD_DUMP`, `BAD_CHECKPOINT` for a malformed file; `BAD_ARGUMENT` for
 * a file of another kind, saying which, without logits, or whose size does not fit.
 */
export async function openLogits(
  path: string,
  vocabulary?: number,
  rawDtype?: RawDtype,
): Promise<LogitsSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError('a dump or a raw file of F32 logits', explained(cause as Error).message, path, cause);
  });
  if (found.isDirectory()) return openDump(path);
  if (await isPerplexityFile(path)) return openPerplexity(path);
  return openFileLogits(path, vocabulary, rawDtype);
}

async function openDump(path: string): Promise<LogitsSource> {
  const dump = await Dump.open(path);
  try {
    return { ...(await dumpLogits(dump)), [Symbol.asyncDispose]: () => dump.close() };
  } catch (error) {
    await dump.close();
    throw error;
  }
}

/**
 * The logits of a dump that is open, or of one seen through a name map; it stays open. @throws `BAD_ARGUMENT`
 * for a dump without.
 */
export async function dumpLogits(dump: DumpView): Promise<LogitsSource> {
  const path = dump.dir;
  const wanted = dump.roles === undefined ? USUAL_NAME : dump.roles.logits?.[0];
  const tap = dump.taps.find(({ name }) => name === wanted);
  const vocabulary = tap?.shape.at(-1);
  // An import without a config may have axes of size 1.
  if (
    tap === undefined ||
    typeof vocabulary !== 'number' ||
    tap.shape.slice(0, -1).some((size) => size !== 1)
  )
    throw bad(
      `a dump with ${wanted ?? USUAL_NAME}, the logits`,
      dump.manifest.status === 'partial' ? 'one without, of a run that did not finish' : 'one without',
      join(path, MANIFEST_FILE),
    );
  const { sequence, position } = await dump.rows(tap.name);
  // A position that was computed twice (after a truncation) counts as it was computed last.
  const latest = new Map<string, number>();
  for (const row of await rowsWithValue(dump, tap)) latest.set(`${sequence[row]} ${position[row]}`, row);
  const places = [...latest.values()];
  return {
    name: basename(resolve(path)),
    kind: 'dump',
    origin: originOf(dump),
    values: 'logits',
    notes: [
      ...(dump.manifest.status === 'partial'
        ? [`${basename(resolve(path))} is partial: its producer did not finish`]
        : []),
      ...roundingNotes(tap.dtype, basename(resolve(path))),
    ],
    tokens: knownTokens(dump.manifest.sequences),
    masked: isMasked(tap),
    partial: dump.manifest.status === 'partial',
    otherNonFinite: (allowNonFinite) => recordedNonFinite(dump, allowNonFinite),
    vocabulary,
    rows: places.map((row) => ({ sequence: sequence[row]!, position: position[row]! })),
    async read(index) {
      const row = places[index]!;
      const batch = await dump.readRows(tap.name, row, row + 1);
      if (batch === undefined) throw bad(`a value in row ${row}`, 'none', path);
      return roundLogits(batch.data, batch.dtype, `${tap.name} in ${path}`);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Rows of a file in which a tap has a value. */
async function rowsWithValue(dump: DumpView, tap: TapInfo): Promise<number[]> {
  const { position } = await dump.rows(tap.name);
  const rows: number[] = [];
  const memory = new ReusableBuffer();
  for (let row = 0; row < position.length; ) {
    const there = tap.nullable
      ? ((await dump.readRows(tap.name, row, position.length, memory))?.shape[0] ?? 0)
      : position.length;
    for (let k = 0; k < there; k++) rows.push(row + k);
    row += Math.max(1, there);
  }
  return rows;
}

/** Log-probabilities of llama-perplexity, chunk by chunk. */
async function openPerplexity(path: string): Promise<LogitsSource> {
  const file = await openPerplexityFile(path);
  const { chunks, vocabulary, rows } = file;
  return {
    name: basename(resolve(path)),
    kind: 'perplexity file',
    values: 'log-probabilities',
    notes: [
      `${basename(path)} holds log-probabilities of llama-perplexity (${chunks.length} chunks of ${chunks[0]!.length} tokens, those of each one's second half), clipped ${PERPLEXITY_RANGE} nats below the likeliest and rounded to 65,536 steps; both sides are compared as such`,
    ],
    tokens: chunks,
    vocabulary,
    rows,
    read: (index) => file.read(index),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}

function ioError(expected: string, got: string, file: string, cause?: unknown): ZayascopeError {
  return unmet('IO', OP, expected, got, { where: file, tensor: file, cause });
}
