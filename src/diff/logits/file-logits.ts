/**
 * Logits in a file of another program: which of its values they are, and which positions their rows are of.
 */
import { basename, resolve } from 'node:path';
import type { TapElements } from '../../dump/float.js';
import {
  type ForeignSource,
  type ForeignValue,
  foreignBytes,
  tapDtypeOf,
  toTapElements,
} from '../../dump/import/foreign.js';
import { planLayout } from '../../dump/import/layout.js';
import { openForeignSource } from '../../dump/import/open-source.js';
import type { RawDtype } from '../../dump/import/raw-dtype.js';
import { tokensBeside } from '../../dump/import/tokens-beside.js';
import { badArgument, type ZayascopeError } from '../../errors.js';
import type { Origin } from '../sides/side-by-side.js';
import { noneUnpaired, type UnpairedNonFinite } from '../unpaired-non-finite.js';
import type { LogitsRow, LogitsSource } from './check-source.js';
import { roundingNotes, roundLogits } from './round-logits.js';

const OP = 'verifyLogits';
/** Names that programs give to their logits, the surest first. */
const NAMES = ['lm_head', 'logits', 'result_output', 'model.lm_head', 'output'];
/** Far more than any vocabulary and any text; rows are read one by one, so that these bound the memory. */
const MAX_VOCABULARY = 1 << 24;
const MAX_ROWS = 1 << 20;
/** What is turned is read whole. */
const MAX_TURNED_BYTES = 1 << 30;
const TOKEN_NAMES = ['tokens', 'input_ids', 'token_ids'];

/**
 * Opens a file of any kind that `import` reads. Throws as it does, and `BAD_ARGUMENT` where it holds no
 * logits or does not say which they are.
 */
export async function openFileLogits(
  path: string,
  vocabulary?: number,
  rawDtype?: RawDtype,
): Promise<LogitsSource> {
  const source = await openForeignSource(path, { vocabulary, rawDtype });
  try {
    const logits = await fromSource(source, path, vocabulary);
    return source.kind === 'raw logits'
      ? { ...logits, unmarked: { hasDtype: rawDtype !== undefined } }
      : logits;
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

async function fromSource(
  source: ForeignSource,
  path: string,
  rowLength: number | undefined,
): Promise<LogitsSource> {
  const value = findLogits(source, path);
  const { dtype } = value;
  const plan = planLayout(
    value.shape,
    value.layout ?? [],
    { tokens: 1, visible: 1, target: undefined },
    value.name,
  );
  const shape = plan.shape.filter((size, axis) => size !== 1 || axis === plan.shape.length - 1);
  const vocabulary = rowLength ?? shape.at(-1) ?? 1;
  const elements = shape.reduce((all, size) => all * size, 1);
  if (shape.length > 2 || elements === 0 || elements % vocabulary !== 0)
    throw bad(
      rowLength === undefined
        ? 'logits of shape [tokens, vocabulary] or [vocabulary]'
        : `rows of ${rowLength} values`,
      `[${value.shape.join(', ')}]`,
      value.origin ?? path,
    );
  const count = elements / vocabulary;
  if (vocabulary < 2)
    throw bad('at least 2 logits a token', `${vocabulary}, whose soft-max is always 1`, value.origin ?? path);
  if (vocabulary > MAX_VOCABULARY || count > MAX_ROWS)
    throw bad(
      `at most ${MAX_ROWS} rows of ${MAX_VOCABULARY} logits`,
      `[${count}, ${vocabulary}]`,
      value.origin ?? path,
    );
  const tokens = source.steps?.[0]?.tokens ?? (await tokensBeside(OP, path)) ?? (await ownTokens(source));
  if (tokens !== undefined && count > tokens.length)
    throw bad(`at most a row for each of the ${tokens.length} tokens`, `${count} rows`, path);
  // Fewer rows than tokens are those of the last ones.
  const first = tokens === undefined ? (count === 1 ? -1 : 0) : tokens.length - count;
  let whole: Float32Array | undefined;
  const { readRange } = value;
  if (value.layout !== undefined && elements * foreignBytes(dtype) > MAX_TURNED_BYTES)
    throw bad(
      `at most ${MAX_TURNED_BYTES} bytes in another order of axes (numpy.ascontiguousarray turns them)`,
      `[${value.shape.join(', ')}] ${dtype}`,
      value.origin ?? path,
    );
  const rowBytes = vocabulary * foreignBytes(dtype);
  const asFloats = (data: TapElements): Float32Array =>
    roundLogits(data, tapDtypeOf(dtype), value.origin ?? path);
  const places = Array.from({ length: count }, (_, row) => ({ sequence: 0, position: first + row }));
  const read = async (index: number): Promise<Float32Array> => {
    if (readRange !== undefined && value.layout === undefined)
      return asFloats(
        toTapElements(await readRange(index * rowBytes, (index + 1) * rowBytes), dtype, value.name),
      );
    whole ??= asFloats(plan.apply(toTapElements(await value.read(), dtype, value.name)));
    return whole.slice(index * vocabulary, (index + 1) * vocabulary);
  };
  return {
    name: basename(resolve(path)),
    kind: 'raw file',
    origin: fileOrigin(path),
    values: 'logits',
    notes: [...source.notes, ...roundingNotes(dtype, basename(path))],
    tokens: tokens === undefined ? undefined : [tokens],
    vocabulary,
    rows: places,
    read,
    otherNonFinite: (allowNonFinite) => rowsNonFinite(value.name, places, read, allowNonFinite),
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}

/** NaN and infinities of all rows, those too that are not compared: as of a dump, with one nothing passes. */
async function rowsNonFinite(
  tap: string,
  places: readonly LogitsRow[],
  read: (index: number) => Promise<Float32Array>,
  allowNonFinite: boolean,
): Promise<UnpairedNonFinite> {
  const sum = noneUnpaired();
  for (const [row, { sequence, position }] of places.entries())
    for (const [id, found] of (await read(row)).entries()) {
      if (Number.isFinite(found)) continue;
      sum[Number.isNaN(found) ? 'nan' : 'inf']++;
      sum.first ??= { tap, place: { sequence, position, index: [id], value: found } };
    }
  const all = sum.nan + sum.inf;
  if (allowNonFinite) return { ...sum, allowed: all, first: null };
  return { ...sum, counted: all, taps: Math.min(1, all) };
}

/** The conversion scripts of llama.cpp name their files by who computed them. */
function fileOrigin(path: string): Origin {
  const program = /^(pytorch|llamacpp)-/.exec(basename(path))?.[1];
  const side = program === undefined ? undefined : program === 'pytorch' ? 'reference' : 'port';
  return { path, side, what: program === 'pytorch' ? 'logits of PyTorch' : 'logits of llama.cpp' };
}

function findLogits(source: ForeignSource, path: string): ForeignValue {
  const floats = source.values.filter(
    ({ dtype, unusable }) => unusable === undefined && ['F32', 'F16', 'BF16', 'F64'].includes(dtype),
  );
  const named = NAMES.map((name) => floats.filter((value) => value.name === name)).find(
    ({ length }) => length > 0,
  );
  const found = named ?? floats;
  if (found.length === 1) return found[0]!;
  const names = source.values.map(({ name, unusable }) =>
    unusable === undefined ? name : `${name} (${unusable})`,
  );
  throw bad(
    `one value of floats, or one named ${NAMES.slice(0, 3).join(', ')}`,
    names.length === 0
      ? 'none'
      : `${names.length}: ${names.slice(0, 6).join(', ')}${names.length > 6 ? ', ..' : ''}`,
    path,
  );
}

/** Ids that stand beside the logits in the same file. */
async function ownTokens({ values }: ForeignSource): Promise<number[] | undefined> {
  const value = values.find(({ name, dtype }) => TOKEN_NAMES.includes(name) && tapDtypeOf(dtype) === 'I32');
  if (value === undefined || value.shape.filter((size) => size !== 1).length > 1) return undefined;
  const count = value.shape.reduce((all, size) => all * size, 1);
  if (count > MAX_ROWS) throw bad(`at most ${MAX_ROWS} token ids`, `${count}`, value.origin ?? value.name);
  return [...toTapElements(await value.read(), value.dtype, value.name, 'token ids that fit 32 bits')];
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
