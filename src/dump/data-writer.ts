import { badArgument, unmet, type ZayascopeError } from '../errors.js';
import { COLUMN_SIZE, columnKind, dataSchema, rowItems } from './arrow/columns.js';
import { INDEX_COLUMNS } from './arrow/index-columns.js';
import { ArrowWriter } from './arrow/writer.js';
import { blockElements, isQuantised, itemBytes, storedBytes } from './dtypes.js';
import type { RowIndex, TapSpec } from './format.js';

/** A tap's value handed to the writer. */
export interface TapValue {
  /**
   * Contiguous little-endian elements of the tap's dtype, BOOL as bytes of 0 and 1, quantised types as their
   * blocks. May be a view of memory that is reused once the append has resolved.
   */
  bytes: Uint8Array;
  /**
   * In elements. Scope `token`: [rows, ...shape]. Scope `step`: the value's own shape. Slowest axis first.
   */
  shape: readonly number[];
  /**
   * For a nullable tap: one entry per row of the append, 0 where the row has no value. `bytes` and `shape`
   * are then of the other rows alone. Default: every row has one.
   */
  present?: Uint8Array;
}

/** Offsets of list columns are 32-bit. */
const MAX_LIST_ELEMENTS = 2 ** 31 - 1;

/** Rows [start, end) of an append as one record batch. */
interface Slice {
  start: number;
  end: number;
  /** True for the slice with the last row, where values of scope `step` stand. */
  last: boolean;
}

/**
 * Writes the tensors of one block: turns the values of an append into Arrow nodes and buffers, without
 * copying them.
 */
export class DataWriter {
  readonly #writer: ArrowWriter;
  readonly #taps: readonly TapSpec[];
  readonly #batchBytes: number;

  private constructor(writer: ArrowWriter, taps: readonly TapSpec[], batchBytes: number) {
    this.#writer = writer;
    this.#taps = taps;
    this.#batchBytes = batchBytes;
  }

  /**
   * Creates the file. @param batchBytes rows are split over several record batches where one body would be
   * larger.
   */
  static async create(
    path: string,
    block: number | null,
    taps: readonly TapSpec[],
    version: 1 | 2,
    batchBytes: number,
  ): Promise<DataWriter> {
    let nodes = INDEX_COLUMNS.length;
    let buffers = 2 * INDEX_COLUMNS.length;
    for (const tap of taps) {
      nodes += COLUMN_SIZE[columnKind(tap)].nodes;
      buffers += COLUMN_SIZE[columnKind(tap)].buffers;
    }
    return new DataWriter(
      await ArrowWriter.create(path, dataSchema(block, taps, version), nodes, buffers),
      taps,
      batchBytes,
    );
  }

  /**
   * Appends rows. Every tap of scope `token` needs a value unless it is nullable; one of scope `step` may be
   * missing. `BAD_ARGUMENT` names the tap at fault.
   */
  async append(index: RowIndex, values: ReadonlyMap<string, TapValue>): Promise<void> {
    const rows = index.position.length;
    const ordered = this.#taps.map((tap) => checkValue(tap, values.get(tap.name), rows));
    for (const slice of this.#slices(rows, ordered)) {
      const nodes: number[] = [];
      const buffers: (Uint8Array | null)[] = [];
      const count = slice.end - slice.start;
      for (const column of [index.sequence, index.position, index.tokenId, index.step]) {
        nodes.push(count, 0);
        buffers.push(null, bytesOf(column.subarray(slice.start, slice.end)));
      }
      for (const [k, tap] of this.#taps.entries()) addColumn(nodes, buffers, tap, ordered[k], slice);
      await this.#writer.append(count, nodes, buffers);
    }
  }

  finish(): Promise<void> {
    return this.#writer.finish();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  #slices(rows: number, values: readonly (CheckedValue | undefined)[]): Slice[] {
    let perRow = 16;
    let perBatch = 0;
    let listItems = 1;
    for (const [k, tap] of this.#taps.entries()) {
      const value = values[k];
      const isList = columnKind(tap) === 'varying';
      if (tap.scope === 'step') perBatch += value?.bytes.byteLength ?? 0;
      // A row without a value takes the same room where rows are of one size.
      else perRow += isList ? (value?.rowBytes ?? 0) : rowItems(tap) * itemBytes(tap.dtype);
      if (isList && tap.scope === 'token')
        listItems = Math.max(listItems, (value?.rowBytes ?? 0) / itemBytes(tap.dtype));
    }
    const step = Math.floor(Math.min((this.#batchBytes - perBatch) / perRow, MAX_LIST_ELEMENTS / listItems));
    if (step < 1)
      throw badArgument('appendDump', `a row of at most ${this.#batchBytes} bytes`, perRow + perBatch);
    const slices: Slice[] = [];
    for (let start = 0; start < rows; start += step) {
      const end = Math.min(rows, start + step);
      slices.push({ start, end, last: end === rows });
    }
    return slices;
  }
}

/** A value that fits its tap. */
interface CheckedValue extends TapValue {
  /** Bytes of a row; of scope `step`, of the value. */
  rowBytes: number;
}

/** Appends one tap's nodes and buffers, in the order of `COLUMN_SIZE`. */
function addColumn(
  nodes: number[],
  buffers: (Uint8Array | null)[],
  tap: TapSpec,
  value: CheckedValue | undefined,
  slice: Slice,
): void {
  const part = sliceOf(tap, value, slice);
  const kind = columnKind(tap);
  if (kind === 'varying') {
    addVarying(nodes, buffers, part, tap);
    return;
  }
  const { count, validity, nulls } = part;
  nodes.push(count, nulls);
  buffers.push(validity);
  if (kind === 'fixed') {
    nodes.push(count * rowItems(tap), 0);
    buffers.push(null);
  }
  buffers.push(nulls === 0 ? part.bytes : spread(part, tap));
}

/** The rows of one record batch of one tap. */
interface ColumnPart {
  count: number;
  /** Validity bitmap, or null where every row has a value. */
  validity: Uint8Array | null;
  nulls: number;
  /** True for rows that have a value. */
  present: (row: number) => boolean;
  /** Elements of the rows that have a value. */
  bytes: Uint8Array;
  rowBytes: number;
  /** Of such a row. */
  shape: readonly number[];
}

const EMPTY = new Uint8Array(0);
const NO_ROWS: CheckedValue = { bytes: EMPTY, rowBytes: 0, shape: [], present: EMPTY };
const EVERY_ROW = { validity: null, nulls: 0, present: () => true };

function sliceOf(tap: TapSpec, value: CheckedValue | undefined, { start, end, last }: Slice): ColumnPart {
  const count = end - start;
  if (tap.scope === 'step') {
    // The value stands in the last row of the step.
    const there = last && value !== undefined;
    return {
      count,
      ...bitmap(count, (row) => there && row === count - 1),
      bytes: there ? value.bytes : EMPTY,
      rowBytes: value?.rowBytes ?? 0,
      shape: value?.shape ?? [],
    };
  }
  const { bytes, rowBytes, shape, present } = value ?? NO_ROWS;
  const before = present === undefined ? start : countPresent(present, 0, start);
  const rows = present === undefined ? count : countPresent(present, start, end);
  return {
    count,
    ...(present === undefined ? EVERY_ROW : bitmap(count, (row) => (present[start + row] ?? 0) !== 0)),
    bytes: bytes.subarray(before * rowBytes, (before + rows) * rowBytes),
    rowBytes,
    shape: shape.slice(1),
  };
}

function bitmap(
  count: number,
  present: ColumnPart['present'],
): Pick<ColumnPart, 'validity' | 'nulls' | 'present'> {
  const validity = new Uint8Array(Math.ceil(count / 8));
  let nulls = 0;
  for (let row = 0; row < count; row++)
    if (present(row)) validity[row >> 3]! |= 1 << (row & 7);
    else nulls++;
  return { validity: nulls === 0 ? null : validity, nulls, present };
}

function countPresent(present: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let row = start; row < end; row++) if ((present[row] ?? 0) !== 0) count++;
  return count;
}

/** The values of a column whose rows all take the same room: zeros where there is none. */
function spread({ count, present, bytes, rowBytes }: ColumnPart, tap: TapSpec): Uint8Array {
  const size = rowItems(tap) * itemBytes(tap.dtype);
  const all = new Uint8Array(count * size);
  for (let row = 0, from = 0; row < count; row++)
    if (present(row)) {
      all.set(bytes.subarray(from, from + rowBytes), row * size);
      from += rowBytes;
    }
  return all;
}

/** A list column and its shape column. */
function addVarying(
  nodes: number[],
  buffers: (Uint8Array | null)[],
  { count, validity, nulls, present, bytes, rowBytes, shape }: ColumnPart,
  tap: TapSpec,
): void {
  const rank = tap.shape.length;
  const perRow = rowBytes / itemBytes(tap.dtype);
  const offsets = new Int32Array(count + 1);
  const shapes = new Int32Array(count * rank);
  for (let row = 0; row < count; row++) {
    const there = present(row);
    offsets[row + 1] = offsets[row]! + (there ? perRow : 0);
    if (there) shapes.set(shape, row * rank);
  }
  const items = bytes.byteLength / itemBytes(tap.dtype);
  nodes.push(count, nulls, items, 0, count, nulls, count * rank, 0);
  buffers.push(validity, bytesOf(offsets), null, bytes, validity, null, bytesOf(shapes));
}

function checkValue(tap: TapSpec, value: TapValue | undefined, rows: number): CheckedValue | undefined {
  if (value === undefined) {
    if (tap.scope === 'step' || tap.nullable === true) return undefined;
    throw badValue(tap, `a value of ${rows} rows`, 'none');
  }
  const { shape, bytes, present } = value;
  if (present !== undefined && tap.nullable !== true)
    throw badValue(tap, 'a value for every row of a tap that is not nullable', 'one with missing rows');
  if (present !== undefined && present.length !== rows)
    throw badValue(tap, `${rows} entries in present`, String(present.length));
  const values = present === undefined ? rows : countPresent(present, 0, rows);
  const lead = tap.scope === 'token' ? 1 : 0;
  let fits = shape.length === lead + tap.shape.length && (lead === 0 || shape[0] === values);
  for (let axis = 0; axis < tap.shape.length; axis++)
    fits &&= tap.shape[axis] === null || tap.shape[axis] === shape[lead + axis];
  if (!fits) {
    const expected = [...(lead === 1 ? [values] : []), ...tap.shape.map((size) => size ?? 'any')];
    throw badValue(tap, `shape [${expected.join(', ')}]`, `[${shape.join(', ')}]`);
  }
  if (isQuantised(tap.dtype) && shape.at(-1)! % blockElements(tap.dtype) !== 0)
    throw badValue(tap, `whole blocks of ${blockElements(tap.dtype)} elements`, `[${shape.join(', ')}]`);
  const sizeBytes = storedBytes(
    tap.dtype,
    shape.reduce((product, size) => product * size, 1),
  );
  if (bytes.byteLength !== sizeBytes) throw badValue(tap, `${sizeBytes} bytes`, String(bytes.byteLength));
  if (tap.dtype === 'BOOL') {
    const other = bytes.find((byte) => byte > 1);
    if (other !== undefined) throw badValue(tap, 'bytes of 0 and 1', String(other));
  }
  const rowBytes = lead === 0 ? sizeBytes : values === 0 ? 0 : sizeBytes / values;
  return { ...value, rowBytes };
}

function badValue(tap: TapSpec, expected: string, got: string): ZayascopeError {
  return unmet('BAD_ARGUMENT', 'appendDump', expected, got, {
    where: tap.name,
    tensor: tap.name,
    dtypes: [tap.dtype],
  });
}

function bytesOf(array: Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
