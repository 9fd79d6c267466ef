import { badArgument, unmet } from '../errors.js';
import { ArrowWriter, utf8Buffers } from './arrow/writer.js';
import type { RowIndex, TapSpec } from './format.js';
import { hashSchema, statsSchema } from './stats-columns.js';

/** Statistics of a tap over the rows of an append. */
export interface TapStats {
  /** Elements per row. */
  count: number;
  /** 7 numbers a row, as `rowStats` gives them: min, max, mean, rms, absmax, NaN count, infinity count. */
  values: Float64Array;
  /**
   * For a nullable tap: one entry per row of the append, 0 where it has no value; `values` is of the others.
   * Default: every row has one.
   */
  present?: Uint8Array;
}

/** SHA-256 of a tap's rows in lower-case hex; with their number where a nullable tap lacks some. */
export type TapHash = string | { sha256: string; rows: number };

/** Numbers per row in {@link TapStats.values}. */
const STATS_PER_ROW = 7;

/** Writes `stats.arrow`. */
export class StatsWriter {
  readonly #writer: ArrowWriter;
  readonly #taps: ReadonlyMap<string, { id: number; tap: TapSpec }>;

  private constructor(writer: ArrowWriter, taps: readonly TapSpec[]) {
    this.#writer = writer;
    this.#taps = numbered(taps);
  }

  static async create(path: string, taps: readonly TapSpec[]): Promise<StatsWriter> {
    const names = taps.map((tap) => tap.name);
    return new StatsWriter(await ArrowWriter.create(path, statsSchema(), 13, 26, names), taps);
  }

  /**
   * Appends one record batch: scope `token` one row per position of `index`, scope `step` one row at the last
   * position.
   */
  append(index: RowIndex, stats: ReadonlyMap<string, TapStats>): Promise<void> {
    const rows = index.position.length;
    let total = 0;
    for (const [name, { values, present }] of stats) {
      const expected = statsRows(lookUp(this.#taps, name).tap, rows, present);
      if (values.length !== expected * STATS_PER_ROW)
        throw badArgument(
          'appendStats',
          `${expected} rows of ${STATS_PER_ROW} numbers`,
          `${values.length} numbers`,
          name,
        );
      total += expected;
    }
    if (total === 0) return Promise.resolve();
    const ints = Array.from({ length: 8 }, () => new Int32Array(total));
    const doubles = Array.from({ length: 5 }, () => new Float64Array(total));
    const [ids, blocks, sequences, positions, steps, counts, nans, infs] = ints as [
      Int32Array,
      ...Int32Array[],
    ];
    let out = 0;
    for (const [name, { count, values, present }] of stats) {
      const { id, tap } = lookUp(this.#taps, name);
      const tapRows = values.length / STATS_PER_ROW;
      let source = tap.scope === 'token' ? -1 : rows - 2;
      for (let row = 0; row < tapRows; row++, out++) {
        source++;
        while (present?.[source] === 0) source++;
        ids[out] = id;
        blocks![out] = tap.block ?? -1;
        sequences![out] = index.sequence[source]!;
        positions![out] = index.position[source]!;
        steps![out] = index.step[source]!;
        counts![out] = count;
        for (let k = 0; k < 5; k++) doubles[k]![out] = values[row * STATS_PER_ROW + k]!;
        nans![out] = values[row * STATS_PER_ROW + 5]!;
        infs![out] = values[row * STATS_PER_ROW + 6]!;
      }
    }
    return this.#writer.append(total, ...columns(total, [...ints.slice(0, 6), ...doubles, ...ints.slice(6)]));
  }

  finish(): Promise<void> {
    return this.#writer.finish();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}

/** Writes `hash.arrow`. */
export class HashWriter {
  readonly #writer: ArrowWriter;
  readonly #taps: ReadonlyMap<string, { id: number; tap: TapSpec }>;

  private constructor(writer: ArrowWriter, taps: readonly TapSpec[]) {
    this.#writer = writer;
    this.#taps = numbered(taps);
  }

  static async create(path: string, taps: readonly TapSpec[]): Promise<HashWriter> {
    const names = taps.map((tap) => tap.name);
    return new HashWriter(await ArrowWriter.create(path, hashSchema(), 6, 13, names), taps);
  }

  /** Appends one record batch with a row per tap. @param hashes lower-case hex SHA-256 by tap. */
  append(sequence: number, step: number, rows: number, hashes: ReadonlyMap<string, TapHash>): Promise<void> {
    const total = hashes.size;
    if (total === 0) return Promise.resolve();
    const ints = Array.from({ length: 5 }, () => new Int32Array(total));
    let out = 0;
    const texts: string[] = [];
    for (const [name, given] of hashes) {
      const { id, tap } = lookUp(this.#taps, name);
      const { sha256: hash, rows: own } = typeof given === 'string' ? { sha256: given, rows } : given;
      texts.push(hash);
      if (!/^[0-9a-f]{64}$/.test(hash))
        throw badArgument('appendHash', '64 lower-case hex digits', `'${hash}'`, name);
      for (const [column, value] of [
        id,
        tap.block ?? -1,
        sequence,
        step,
        tap.scope === 'token' ? own : 1,
      ].entries())
        ints[column]![out] = value;
      out++;
    }
    const [nodes, buffers] = columns(total, ints);
    nodes.push(total, 0);
    buffers.push(null, ...utf8Buffers(texts));
    return this.#writer.append(total, nodes, buffers);
  }

  finish(): Promise<void> {
    return this.#writer.finish();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}

/** How many rows of statistics an append of `rows` has. */
function statsRows(tap: TapSpec, rows: number, present: Uint8Array | undefined): number {
  if (tap.scope === 'step') return 1;
  if (present === undefined) return rows;
  if (tap.nullable !== true || present.length !== rows)
    throw badArgument(
      'appendStats',
      tap.nullable === true ? `${rows} entries in present` : 'a nullable tap',
      tap.nullable === true ? present.length : 'missing rows',
      tap.name,
    );
  return present.reduce((count, entry) => count + (entry === 0 ? 0 : 1), 0);
}

/** Nodes and buffers of plain columns without nulls. */
function columns(
  rows: number,
  arrays: readonly (Int32Array | Float64Array)[],
): [nodes: number[], buffers: (Uint8Array | null)[]] {
  const buffers = arrays.flatMap((array) => [
    null,
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
  ]);
  return [arrays.flatMap(() => [rows, 0]), buffers];
}

function numbered(taps: readonly TapSpec[]): ReadonlyMap<string, { id: number; tap: TapSpec }> {
  return new Map(taps.map((tap, id) => [tap.name, { id, tap }]));
}

function lookUp(
  taps: ReadonlyMap<string, { id: number; tap: TapSpec }>,
  name: string,
): { id: number; tap: TapSpec } {
  const found = taps.get(name);
  if (found === undefined)
    throw unmet('BAD_ARGUMENT', 'appendDump', 'a tap of this dump', `'${name}'`, { tensor: name });
  return found;
}
