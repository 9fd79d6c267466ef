import { basename, join, resolve } from 'node:path';
import { readRegularText } from '../../regular-file.js';
import { fileSizeBytes, ioError, readInto, withFile } from '../../weights/file-access.js';
import {
  FOREIGN_DTYPES,
  type ForeignDtype,
  type ForeignSource,
  type ForeignStep,
  type ForeignValue,
  foreignBytes,
  importError,
} from './foreign.js';

const OP = 'importDump';
/** Names of the two files that `dumps/llamacpp/zayascope_dump.h` writes. */
export const LLAMACPP_INDEX = 'index.jsonl';
const DATA = 'tensors.bin';
const FORMAT = 'zayascope-llamacpp';

/** A line of the index that describes a value. */
interface Line {
  name: string;
  graph: number;
  type: ForeignDtype;
  ne: readonly number[];
  offset: number;
  note?: string;
}

/** Lines read so far. */
interface Index {
  producer: Record<string, unknown>;
  batches: number[][];
  /** Tokens per graph, and the batch that it was run for. */
  graphs: { tokens: number; batch: number }[];
  lines: Line[];
  notes: Set<string>;
  finished: boolean;
}

/**
 * Opens a folder that `dumps/llamacpp/zayascope_dump.h` wrote in a llama.cpp port. A step is one graph (one ubatch). Of a name that a graph has several
 * times, the last goes by the name itself, as llama.cpp means it, and the k-th before it by `name#k`.
 *
 * The folder of a run that did not finish can be read up to its last whole batch.
 * Throws `BAD_DUMP` naming the line at fault, `BAD_ARGUMENT` for tokens that do not add up, `IO`.
 */
export async function openLlamacppSource(folder: string): Promise<ForeignSource> {
  const file = join(folder, LLAMACPP_INDEX);
  const text = await readRegularText(file).catch((cause: unknown) => {
    throw ioError(OP, 'a readable index', file, cause);
  });
  const index = parseIndex(text, file);
  const dataFile = join(folder, DATA);
  const dataBytes = await fileSizeBytes(OP, dataFile);
  // What came last may be cut short where the program ended early: its batch does not count.
  const whole = index.finished ? index.batches.length : index.batches.length - 1;
  if (whole < 1) throw importError('BAD_DUMP', 'at least one whole batch', 'none', file);
  if (!index.finished) index.notes.add('The run did not finish: its last batch is left out.');
  const steps = splitBatches(index, whole, file);
  const values = index.lines
    .filter(({ graph }) => graph < steps.length)
    .map((line): Line & { bytes: number } => {
      const bytes = line.ne.reduce((all, size) => all * size, foreignBytes(line.type));
      if (line.offset + bytes > dataBytes)
        throw importError(
          'BAD_DUMP',
          `${bytes} bytes at ${line.offset}`,
          `a file of ${dataBytes}`,
          `${line.name} in ${dataFile}`,
        );
      return { ...line, bytes };
    });
  return {
    kind: 'llama.cpp',
    name: basename(resolve(folder)),
    values: numberRepeats(values).map(
      ({ name, graph, type, ne, offset, bytes }): ForeignValue => ({
        name,
        step: graph,
        dtype: type,
        shape: [...ne].reverse(),
        async read() {
          const out = new Uint8Array(bytes);
          await withFile(OP, dataFile, (handle) => readInto(OP, handle, dataFile, offset, out));
          return out;
        },
      }),
    ),
    steps,
    isExecutionOrder: true,
    mayLackFirstRows: false,
    producer: index.producer,
    notes: [...index.notes],
    [Symbol.asyncDispose]: async () => {},
  };
}

function parseIndex(text: string, file: string): Index {
  const index: Index = {
    producer: {},
    batches: [],
    graphs: [],
    lines: [],
    notes: new Set(),
    finished: false,
  };
  const lines = text.split('\n');
  // Text after the last line feed is a line that was not written to its end.
  for (const [at, line] of lines.slice(0, -1).entries()) {
    const where = `line ${at + 1} of ${file}`;
    let entry: Record<string, unknown>;
    try {
      entry = JSON.parse(line) as Record<string, unknown>;
    } catch (cause) {
      throw importError('BAD_DUMP', 'JSON', (cause as Error).message.slice(0, 80), where);
    }
    if (typeof entry !== 'object' || entry === null) throw importError('BAD_DUMP', 'an object', line, where);
    if (at === 0) {
      if (entry.format !== FORMAT || entry.version !== 1)
        throw importError(
          'BAD_DUMP',
          `format ${FORMAT}, version 1`,
          `${entry.format} ${entry.version}`,
          where,
        );
      const { format: _, version: __, ...producer } = entry;
      index.producer = producer;
    } else addLine(index, entry, where);
  }
  if (lines.length < 2) throw importError('BAD_DUMP', 'lines', 'an empty index', file);
  return index;
}

function addLine(index: Index, entry: Record<string, unknown>, where: string): void {
  const { tokens, position, graph, rows, name, type, ne, offset, note, skipped } = entry;
  if (tokens !== undefined) {
    if (!isSizes(tokens))
      throw importError('BAD_DUMP', 'token ids', JSON.stringify(tokens).slice(0, 60), where);
    const before = index.batches.reduce((sum, batch) => sum + batch.length, 0);
    if (position !== before)
      throw importError(
        'BAD_ARGUMENT',
        `a batch that goes on at position ${before}; call begin() before every llama_decode`,
        `position ${position}`,
        where,
      );
    index.batches.push(tokens);
  } else if (rows !== undefined) {
    if (graph !== index.graphs.length || !isSizes([rows]) || index.batches.length === 0)
      throw importError('BAD_DUMP', `graph ${index.graphs.length} of a batch`, `graph ${graph}`, where);
    index.graphs.push({ tokens: rows as number, batch: index.batches.length - 1 });
  } else if (skipped !== undefined) index.notes.add(`${skipped} was not written: ${note}.`);
  else if (name !== undefined) {
    const dtype = FOREIGN_DTYPES.find((known) => known === type);
    if (typeof name !== 'string' || dtype === undefined || !isSizes(ne) || !isSizes([offset]))
      throw importError('BAD_DUMP', 'name, type, ne and offset', JSON.stringify(entry).slice(0, 80), where);
    if (graph !== index.graphs.length - 1)
      throw importError('BAD_DUMP', `graph ${index.graphs.length - 1}`, `graph ${graph}`, where);
    if (typeof note === 'string') index.notes.add(`${name}: ${note}.`);
    index.lines.push({ name, graph: graph as number, type: dtype, ne, offset: offset as number });
  } else if (entry.finished === true) index.finished = true;
  else throw importError('BAD_DUMP', 'a line of a known kind', JSON.stringify(entry).slice(0, 80), where);
}

/** Tokens of each graph: those of a batch in order, since one sequence's ubatches are. */
function splitBatches({ batches, graphs }: Index, whole: number, file: string): ForeignStep[] {
  const steps: ForeignStep[] = [];
  for (const [number, batch] of batches.slice(0, whole).entries()) {
    let start = 0;
    for (const { tokens } of graphs.filter((graph) => graph.batch === number)) {
      steps.push({ count: tokens, tokens: batch.slice(start, start + tokens) });
      start += tokens;
    }
    if (start !== batch.length)
      throw importError(
        'BAD_ARGUMENT',
        `graphs over the ${batch.length} tokens of batch ${number}`,
        `${start} tokens in all; batches must hold one sequence, and n_ubatch its tokens if in doubt`,
        file,
      );
  }
  return steps;
}

/** Gives all but the last value of a name in a graph a number. */
function numberRepeats<T extends Line>(values: readonly T[]): T[] {
  const counts = new Map<string, number>();
  const key = ({ graph, name }: Line): string => `${graph} ${name}`;
  for (const value of values) counts.set(key(value), (counts.get(key(value)) ?? 0) + 1);
  const seen = new Map<string, number>();
  return values.map((value) => {
    const place = seen.get(key(value)) ?? 0;
    seen.set(key(value), place + 1);
    return place === counts.get(key(value))! - 1 ? value : { ...value, name: `${value.name}#${place}` };
  });
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
