/** The index of a folder that `dumps/llamacpp/zayascope_dump.h` wrote: a line of JSON per event. */
import { describeValue } from '../../describe-value.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { FOREIGN_DTYPES, type ForeignDtype, importError } from './foreign.js';

const FORMAT = 'zayascope-llamacpp';

/** A value as its line describes it. */
export interface IndexedValue {
  name: string;
  graph: number;
  type: ForeignDtype;
  /** ggml's order: fastest axis first. */
  ne: readonly number[];
  offset: number;
}

/** A call of `llama_decode`. */
export interface IndexedBatch {
  tokens: readonly number[];
  /** Position of the first token, where only that was recorded. */
  first: number | undefined;
  /** Of each token; undefined where only the first position was recorded: then the batch is one sequence. */
  positions: readonly number[] | undefined;
  sequences: readonly number[] | undefined;
  /** 1 where logits were asked for; undefined where that was not recorded. */
  outputs: readonly number[] | undefined;
}

/** A graph (ubatch), and what its inputs hold as far as that could be read. */
export interface IndexedGraph {
  rows: number;
  /** Number of the batch that it was run for. */
  batch: number;
  tokens: readonly number[] | undefined;
  positions: readonly number[] | undefined;
}

/** All lines. */
export interface LlamacppIndex {
  producer: Record<string, unknown>;
  batches: IndexedBatch[];
  graphs: IndexedGraph[];
  values: IndexedValue[];
  notes: Set<string>;
  finished: boolean;
}

/**
 * Reads the lines. Text after the last line feed is a line that was not written to its end. Throws `BAD_DUMP`
 * naming the line at fault.
 */
export function parseLlamacppIndex(text: string, file: string): LlamacppIndex {
  const index: LlamacppIndex = {
    producer: {},
    batches: [],
    graphs: [],
    values: [],
    notes: new Set(),
    finished: false,
  };
  const lines = text.split('\n');
  for (const [at, line] of lines.slice(0, -1).entries()) {
    const where = `line ${at + 1} of ${file}`;
    const entry = parseJsonObject(Buffer.from(line), { code: 'BAD_DUMP', op: 'importDump', where });
    if (at === 0) {
      if (entry.format !== FORMAT || entry.version !== 1)
        throw importError(
          'BAD_DUMP',
          `format ${FORMAT}, version 1`,
          `${describeValue(entry.format)}, ${describeValue(entry.version)}`,
          where,
        );
      const { format: _, version: __, ...producer } = entry;
      index.producer = producer;
    } else addLine(index, entry, where);
  }
  if (lines.length < 2)
    throw importError(
      'BAD_DUMP',
      'lines',
      text === '' ? 'an empty index' : 'one that ends within its first line',
      file,
    );
  return index;
}

function addLine(index: LlamacppIndex, entry: Record<string, unknown>, where: string): void {
  const { graph, rows, name, note, skipped } = entry;
  if (name !== undefined) addValue(index, entry, where);
  else if (rows !== undefined) {
    const tokens = optionalList(entry.tokens, 'token ids', where);
    if (graph !== index.graphs.length || !isSizes([rows]) || index.batches.length === 0)
      throw importError(
        'BAD_DUMP',
        `graph ${index.graphs.length} of a batch`,
        `graph ${describeValue(graph)}`,
        where,
      );
    const batch = index.batches.length - 1;
    index.graphs.push({ rows: rows as number, batch, tokens, positions: undefined });
  } else if (graph !== undefined && entry.positions !== undefined) {
    const last = index.graphs.at(-1);
    const positions = optionalList(entry.positions, 'positions', where);
    if (last === undefined || graph !== index.graphs.length - 1 || positions?.length !== last.rows)
      throw importError(
        'BAD_DUMP',
        `${last?.rows} positions of the last graph`,
        `graph ${describeValue(graph)}`,
        where,
      );
    last.positions = positions;
  } else if (entry.tokens !== undefined) addBatch(index, entry, where);
  else if (typeof skipped === 'string') index.notes.add(`${skipped} was not written: ${noteText(note)}.`);
  else if (entry.finished === true) index.finished = true;
  else
    throw importError(
      'BAD_DUMP',
      'a line of a known kind',
      `keys ${Object.keys(entry).join(', ').slice(0, 80)}`,
      where,
    );
}

function addBatch(index: LlamacppIndex, entry: Record<string, unknown>, where: string): void {
  const tokens = optionalList(entry.tokens, 'token ids', where)!;
  const perToken = (key: string): readonly number[] | undefined => {
    const list = optionalList(entry[key], key, where);
    if (list !== undefined && list.length !== tokens.length)
      throw importError('BAD_DUMP', `${tokens.length} ${key}`, `${list.length}`, where);
    return list;
  };
  const first =
    entry.position === undefined ? undefined : optionalList([entry.position], 'position', where)![0];
  const [positions, sequences, outputs] = [perToken('positions'), perToken('sequences'), perToken('outputs')];
  index.batches.push({ tokens, first, positions, sequences, outputs });
}

function addValue(index: LlamacppIndex, entry: Record<string, unknown>, where: string): void {
  const { graph, name, type, ne, offset, note } = entry;
  const dtype = FOREIGN_DTYPES.find((known) => known === type);
  if (typeof name !== 'string' || dtype === undefined || !isSizes(ne) || !isSizes([offset]))
    throw importError(
      'BAD_DUMP',
      'name, type, ne and offset',
      `keys ${Object.keys(entry).join(', ').slice(0, 80)}`,
      where,
    );
  if (graph !== index.graphs.length - 1)
    throw importError('BAD_DUMP', `graph ${index.graphs.length - 1}`, `graph ${describeValue(graph)}`, where);
  if (typeof note === 'string') index.notes.add(`${name}: ${note}.`);
  index.values.push({ name, graph: graph as number, type: dtype, ne, offset: offset as number });
}

function noteText(note: unknown): string {
  return typeof note === 'string' ? note : describeValue(note);
}

function optionalList(value: unknown, what: string, where: string): readonly number[] | undefined {
  if (value === undefined || isSizes(value)) return value;
  throw importError('BAD_DUMP', what, describeValue(value), where);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
