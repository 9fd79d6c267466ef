import type { Schema } from 'apache-arrow';
import { unmet } from '../errors.js';
import { utf8Text } from '../utf8.js';
import type { BatchMessage } from './arrow/metadata.js';
import { ArrowReader, isAbsent } from './arrow/reader.js';
import {
  HASH_INTS,
  hashSchema,
  STATS_COUNTS,
  STATS_DOUBLES,
  STATS_INTS,
  statsSchema,
} from './stats-columns.js';

/**
 * `stats.arrow` as columns; row k of each belongs together. `rms` and the others are over finite elements,
 * NaN where there is none.
 */
export interface StatsRows {
  length: number;
  /** Tap name per row. */
  tap: readonly string[];
  /** Decoder block, -1 for none. */
  block: Int32Array;
  sequence: Int32Array;
  position: Int32Array;
  step: Int32Array;
  /** Elements that the row's statistics are over, NaN and infinities included. */
  count: Int32Array;
  min: Float64Array;
  max: Float64Array;
  mean: Float64Array;
  rms: Float64Array;
  absmax: Float64Array;
  /** How many elements are NaN. */
  nan: Int32Array;
  /** How many elements are infinite. */
  inf: Int32Array;
}

/** One row of `hash.arrow`. */
export interface HashRow {
  tap: string;
  /** Decoder block, -1 for none. */
  block: number;
  sequence: number;
  step: number;
  /** Rows of the tap that entered the hash. */
  rows: number;
  /** Lower-case hex. */
  sha256: string;
}

/**
 * Reads a whole `stats.arrow`. Throws `BAD_DUMP` or `IO` naming the file. @param mayLack of a partial dump: a
 * file that is missing, or ends before its schema, holds no rows, and one without a footer those of its whole
 * batches.
 */
export async function readStats(path: string, mayLack = false): Promise<StatsRows> {
  const table = await readTable(path, statsSchema(), mayLack);
  const ints = (name: string) =>
    joinColumn(table, name, (bytes) => new Int32Array(bytes), new Int32Array(table.rows));
  const doubles = (name: string) =>
    joinColumn(table, name, (bytes) => new Float64Array(bytes), new Float64Array(table.rows));
  const columns: Partial<Record<string, Int32Array | Float64Array>> = {};
  for (const name of [...STATS_INTS, ...STATS_COUNTS]) columns[name] = ints(name);
  for (const name of STATS_DOUBLES) columns[name] = doubles(name);
  return {
    ...(columns as Omit<StatsRows, 'tap' | 'length'>),
    length: table.rows,
    tap: tapNames(table, ints('tap')),
  };
}

/** Reads a whole `hash.arrow`; otherwise as {@link readStats}. */
export async function readHashes(path: string, mayLack = false): Promise<HashRow[]> {
  const table = await readTable(path, hashSchema(), mayLack);
  const ints = (name: string) =>
    joinColumn(table, name, (bytes) => new Int32Array(bytes), new Int32Array(table.rows));
  const taps = tapNames(table, ints('tap'));
  const [block, sequence, step, rows] = HASH_INTS.map(ints);
  const hashes = table.batches.flatMap((batch) =>
    strings(table, batch, table.columnAt('sha256'), batch.message.rows),
  );
  return taps.map((tap, k) => ({
    tap,
    block: block![k]!,
    sequence: sequence![k]!,
    step: step![k]!,
    rows: rows![k]!,
    sha256: hashes[k]!,
  }));
}

interface TableBatch {
  message: BatchMessage;
  body: Uint8Array;
}

/** A small file read whole, batch by batch. */
interface Table {
  rows: number;
  batches: readonly TableBatch[];
  dictionary: readonly string[];
  /** Field number of a column; each column has one field node and, but for utf8 (last), two buffers. */
  columnAt(name: string): number;
  corrupt: ArrowReader['corrupt'];
}

async function readTable(path: string, schema: Schema, mayLack: boolean): Promise<Table> {
  const reader = await ArrowReader.open(path).catch((error: unknown) => {
    if (mayLack && isAbsent(error)) return undefined;
    throw error;
  });
  if (reader === undefined) return emptyTable(path);
  const corrupt = reader.corrupt.bind(reader);
  try {
    if (!mayLack) reader.requireFooter();
    const expected = schema.fields.map((field) => `${field.name}: ${field.type}`).join(', ');
    const got = reader.columns.map((column) => `${column.name}: ${column.type}`).join(', ');
    if (got !== expected) throw corrupt(`columns ${expected}`, got);
    const batches: TableBatch[] = [];
    for (let index = 0; index < reader.batchCount; index++) {
      const message = await reader.batch(index);
      if (message.nodes.length !== schema.fields.length)
        throw corrupt(`${schema.fields.length} columns in a batch`, String(message.nodes.length));
      for (const [column, { length, nulls }] of message.nodes.entries()) {
        if (nulls > 0) throw corrupt('no nulls', `some in column ${column}`);
        if (length !== message.rows)
          throw corrupt(`${message.rows} rows in column ${column}, as its batch says,`, String(length));
      }
      const used = Math.max(0, ...message.buffers.map(({ offset, bytes }) => offset + bytes));
      batches.push({ message, body: await reader.read(index, 0, used) });
    }
    const table: Table = {
      rows: 0,
      batches,
      dictionary: [],
      columnAt: (name) => schema.fields.findIndex((field) => field.name === name),
      corrupt,
    };
    for (const batch of batches) {
      // Proves that there are as many rows as the batch says, before anything is allocated for them.
      plainBytes(table, batch, 0, 4);
      table.rows += batch.message.rows;
    }
    if (reader.dictionaryCount > 1) throw corrupt('one dictionary', String(reader.dictionaryCount));
    if (reader.dictionaryCount > 0) {
      const { message, body, id } = await reader.dictionary(0);
      const [node, ...more] = message.nodes;
      if (node?.length !== message.rows || node.nulls > 0 || more.length > 0)
        throw corrupt(`${message.rows} texts without nulls in the dictionary`, `${node?.length ?? 'none'}`);
      const own = reader.columns.find(({ dictionary }) => dictionary !== undefined)?.dictionary;
      if (id !== own) throw corrupt(`dictionary ${own}`, String(id));
      table.dictionary = strings(table, { message, body }, 0, message.rows);
    }
    return table;
  } finally {
    await reader.close();
  }
}

/** What a file without rows holds. */
function emptyTable(path: string): Table {
  const corrupt = (): never => {
    throw unmet('BAD_DUMP', 'readDump', 'rows', 'none', { where: path });
  };
  return { rows: 0, batches: [], dictionary: [], columnAt: () => 0, corrupt };
}

/** The values of a plain column in one batch, copied so that they are aligned. */
function plainBytes(table: Table, batch: TableBatch, column: number, elementBytes: number): ArrayBuffer {
  const range = batch.message.buffers[2 * column + 1];
  const bytes = batch.message.rows * elementBytes;
  if (range === undefined || range.bytes < bytes)
    throw table.corrupt(`${bytes} bytes of column ${column}`, 'fewer');
  return batch.body.slice(range.offset, range.offset + bytes).buffer as ArrayBuffer;
}

function joinColumn<T extends Int32Array | Float64Array>(
  table: Table,
  name: string,
  view: (bytes: ArrayBuffer) => T,
  out: T,
): T {
  let at = 0;
  for (const batch of table.batches) {
    const values = view(plainBytes(table, batch, table.columnAt(name), out.BYTES_PER_ELEMENT));
    out.set(values, at);
    at += values.length;
  }
  return out;
}

/** A utf8 column: offsets and bytes follow the validity buffer. */
function strings(table: Table, batch: TableBatch, column: number, rows: number): string[] {
  const range = batch.message.buffers[2 * column + 1];
  const data = batch.message.buffers[2 * column + 2];
  if (rows === 0) return [];
  if (range === undefined || data === undefined || range.bytes < 4 * (rows + 1))
    throw table.corrupt(`${rows} strings in column ${column}`, 'fewer offsets');
  const view = new DataView(batch.body.buffer, batch.body.byteOffset + range.offset, range.bytes);
  return Array.from({ length: rows }, (_, row) => {
    const start = view.getInt32(4 * row, true);
    const end = view.getInt32(4 * row + 4, true);
    if (start < 0 || end < start || end > data.bytes)
      throw table.corrupt(`strings inside the ${data.bytes} bytes of column ${column}`, `${start}..${end}`);
    const text = utf8Text(batch.body.subarray(data.offset + start, data.offset + end));
    if (text === undefined) throw table.corrupt(`strings of UTF-8 in column ${column}`, 'other bytes');
    return text;
  });
}

function tapNames(table: Table, ids: Int32Array): string[] {
  return Array.from(ids, (id) => {
    const name = table.dictionary[id];
    if (name === undefined) throw table.corrupt(`tap numbers below ${table.dictionary.length}`, String(id));
    return name;
  });
}
