import { join } from 'node:path';
import { checkColumns, type StoredOrder } from './arrow/column-check.js';
import { COLUMN_SIZE, columnKind, rowItems } from './arrow/columns.js';
import { INDEX_COLUMNS } from './arrow/index-columns.js';
import type { BatchMessage, BufferRange } from './arrow/metadata.js';
import { ArrowReader, type ReusableBuffer } from './arrow/reader.js';
import { type RowClaims, rowFault } from './claims/rows.js';
import { blockElements, itemBytes, storedItems } from './dtypes.js';
import { elementsOf, emptyLike, type TapElements } from './float.js';
import type { Manifest, RowIndex, TapDtype, TapInfo } from './format.js';

/** Rows of one tap, all of one shape. */
export interface TensorBatch {
  tap: TapInfo;
  dtype: TapDtype;
  /** [rows, ...] in elements; for scope `step` the leading 1 is a row too. Slowest axis first. */
  shape: readonly number[];
  /**
   * Contiguous elements as they are stored (`TapElements`): `toFloat32` and `toFloat64` make numbers of all
   * dtypes.
   */
  data: TapElements;
  sequence: Int32Array;
  position: Int32Array;
  tokenId: Int32Array;
  step: Int32Array;
}

/**
 * Index columns of all rows of a file, and where its record batches begin: batch k holds rows [starts[k],
 * starts[k + 1]).
 */
export interface FileRows extends RowIndex {
  starts: Float64Array;
}

/** Reads the tensors of one data file by byte ranges. */
export class DataReader {
  readonly #file: ArrowReader | undefined;
  readonly #taps: readonly TapInfo[];
  readonly #claims: RowClaims | undefined;
  readonly #orders: ReadonlyMap<string, StoredOrder>;
  readonly #places: ReadonlyMap<string, { node: number; buffer: number }>;
  #rows: Promise<FileRows> | undefined;

  private constructor(
    reader: ArrowReader | undefined,
    taps: readonly TapInfo[],
    places: ReadonlyMap<string, { node: number; buffer: number }>,
    orders: ReadonlyMap<string, StoredOrder>,
    claims?: RowClaims,
  ) {
    this.#claims = claims;
    this.#file = reader;
    this.#taps = taps;
    this.#places = places;
    this.#orders = orders;
  }

  /** A file of a partial dump that is missing, or ends before its schema: no rows. */
  static absent(): DataReader {
    return new DataReader(undefined, [], new Map(), new Map());
  }

  /**
   * Opens a data file and compares its schema with the manifest's taps; in a complete dump it must be whole.
   * Throws `BAD_DUMP` or `IO`, naming the file.
   */
  static async open(
    dir: string,
    file: string,
    block: number | null,
    taps: readonly TapInfo[],
    claims: RowClaims & Pick<Manifest, 'version'>,
  ): Promise<DataReader> {
    const { version, status } = claims;
    const reader = await ArrowReader.open(join(dir, file));
    let orders: ReadonlyMap<string, StoredOrder>;
    try {
      if (status === 'complete') reader.requireFooter();
      orders = checkColumns(reader, block, taps, version);
    } catch (error) {
      await reader.close();
      throw error;
    }
    const places = new Map<string, { node: number; buffer: number }>();
    let node = INDEX_COLUMNS.length;
    let buffer = 2 * INDEX_COLUMNS.length;
    for (const tap of taps) {
      places.set(tap.name, { node, buffer });
      node += COLUMN_SIZE[columnKind(tap)].nodes;
      buffer += COLUMN_SIZE[columnKind(tap)].buffers;
    }
    return new DataReader(reader, taps, places, orders, claims);
  }

  get hasFooter(): boolean {
    return this.#file?.hasFooter ?? false;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  /** The file; rows are only asked for where there is one. */
  get #reader(): ArrowReader {
    return this.#file!;
  }

  /** The index columns of the whole file (16 bytes a row), read once and compared with the manifest. */
  rows(): Promise<FileRows> {
    this.#rows ??= this.#readRows();
    return this.#rows;
  }

  /**
   * The rows of a tap from row `start` of the file on, as far as they lie in one record batch before row
   * `end` and have one shape.
   * @returns undefined where row `start` has no value (scope `step`, and nullable taps).
   */
  async read(
    tap: TapInfo,
    start: number,
    end: number,
    into?: ReusableBuffer,
  ): Promise<TensorBatch | undefined> {
    const rows = await this.rows();
    const index = batchOf(rows.starts, start);
    const first = rows.starts[index]!;
    const part = { start: start - first, end: Math.min(end, rows.starts[index + 1]!) - first };
    const batch = await this.#reader.batch(index);
    const cells = await this.#cells(tap, index, batch, part);
    if (cells === undefined) return undefined;
    const { buffer, offset, shape } = cells;
    const elements = shape.reduce((product, size) => product * size, 1);
    const bytes = storedItems(tap.dtype, elements) * itemBytes(tap.dtype);
    const values = this.#range(batch, buffer, offset * itemBytes(tap.dtype), bytes, tap.name);
    const data = await this.#reader.read(index, values.offset, values.offset + bytes, into);
    const until = start + shape[0]!;
    return {
      tap,
      dtype: tap.dtype,
      shape,
      data: this.#elements(tap, data, shape),
      sequence: rows.sequence.subarray(start, until),
      position: rows.position.subarray(start, until),
      tokenId: rows.tokenId.subarray(start, until),
      step: rows.step.subarray(start, until),
    };
  }

  #requireNoNulls(batch: BatchMessage, node: number, what: string, allowed = 0): void {
    const nulls = batch.nodes[node]?.nulls ?? 0;
    if (nulls > allowed) throw this.#reader.corrupt(`no nulls in ${what}`, String(nulls));
  }

  /**
   * A batch one of whose columns has another length than the batch is one that something has altered, though
   * the bytes may be there.
   */
  #requireLengths(batch: BatchMessage): void {
    const need = (node: number, length: number, what: string): void => {
      const found = batch.nodes[node]?.length;
      if (found !== length)
        throw this.#reader.corrupt(`${length} entries of ${what}`, String(found ?? 'none'));
    };
    for (const [column, name] of INDEX_COLUMNS.entries()) need(column, batch.rows, name);
    for (const tap of this.#taps) {
      const { node } = this.#places.get(tap.name)!;
      const kind = columnKind(tap);
      need(node, batch.rows, tap.name);
      if (kind === 'fixed') need(node + 1, batch.rows * rowItems(tap), `the items of ${tap.name}`);
      if (kind !== 'varying') continue;
      need(node + 2, batch.rows, `the shapes of ${tap.name}`);
      need(node + 3, batch.rows * tap.shape.length, `the sizes of ${tap.name}`);
    }
  }

  #elements(tap: TapInfo, bytes: Uint8Array, shape: readonly number[]): TapElements {
    if (tap.dtype === 'BOOL') {
      const other = bytes.find((byte) => byte > 1);
      if (other !== undefined) throw this.#reader.corrupt(`bytes of 0 and 1 in ${tap.name}`, String(other));
    }
    const elements = elementsOf(tap.dtype, bytes);
    const stored = this.#orders.get(tap.name);
    return stored === undefined ? elements : transposed(elements, shape[0]!, stored);
  }

  /**
   * Which buffer holds the rows, from which item on, and their shape in elements with the number of rows
   * first.
   */
  async #cells(
    tap: TapInfo,
    index: number,
    batch: BatchMessage,
    part: { start: number; end: number },
  ): Promise<{ buffer: number; offset: number; shape: readonly number[] } | undefined> {
    const { buffer } = this.#places.get(tap.name)!;
    const kind = columnKind(tap);
    const present = await this.#presentRows(tap, index, batch, part);
    if (present === 0) return undefined;
    // The list's items are the node after it, of a varying shape also those of its shape column.
    const { node } = this.#places.get(tap.name)!;
    const absent = batch.nodes[node]?.nulls ?? 0;
    // Items of a fixed-size list are there in rows without a value too, and may be null like them.
    if (kind === 'fixed')
      this.#requireNoNulls(batch, node + 1, `the items of ${tap.name}`, absent * rowItems(tap));
    if (kind === 'varying') {
      this.#requireNoNulls(batch, node + 1, `the items of ${tap.name}`);
      this.#requireNoNulls(batch, node + 3, `the sizes of ${tap.name}`, absent * tap.shape.length);
    }
    if (kind !== 'varying') {
      const shape = [present, ...(tap.shape as readonly number[])];
      const offset = part.start * rowItems(tap);
      return { buffer: buffer + (kind === 'fixed' ? 2 : 1), offset, shape };
    }
    const count = tap.scope === 'step' ? 1 : present;
    const rank = tap.shape.length;
    const offsets = await this.#ints(batch, index, buffer + 1, part.start, count + 1, tap.name);
    const items = batch.nodes[node + 1]?.length ?? 0;
    if (offsets[count]! > items)
      throw this.#reader.corrupt(`lists inside the ${items} items of ${tap.name}`, String(offsets[count]));
    const sizes = await this.#ints(batch, index, buffer + 6, part.start * rank, count * rank, tap.name);
    const shape = Array.from(sizes.subarray(0, rank));
    const perRow = storedItems(
      tap.dtype,
      shape.reduce((product, size) => product * size, 1),
    );
    if ((shape.at(-1) ?? 0) % blockElements(tap.dtype) !== 0)
      throw this.#reader.corrupt(`whole blocks of ${tap.dtype} in ${tap.name}`, `[${shape.join(', ')}]`);
    if (shape.some((size, axis) => size < 0 || (tap.shape[axis] !== null && tap.shape[axis] !== size)))
      throw this.#reader.corrupt(
        `a shape that fits [${tap.shape.join(', ')}] in ${tap.name}`,
        `[${shape.join(', ')}]`,
      );
    let same = 0;
    while (same < count && shape.every((size, axis) => sizes[same * rank + axis] === size)) {
      if (offsets[same + 1]! - offsets[same]! !== perRow || offsets[same]! < 0)
        throw this.#reader.corrupt(`lists of ${perRow} items in ${tap.name}`, 'offsets that say otherwise');
      same++;
    }
    return { buffer: buffer + 3, offset: offsets[0]!, shape: [same, ...shape] };
  }

  /** How many rows from the first of the part on have a value. */
  async #presentRows(
    tap: TapInfo,
    index: number,
    batch: BatchMessage,
    { start, end }: { start: number; end: number },
  ): Promise<number> {
    const { node, buffer } = this.#places.get(tap.name)!;
    const validity = batch.buffers[buffer];
    const nulls = batch.nodes[node]?.nulls ?? 0;
    if (validity === undefined || validity.bytes === 0) {
      if (nulls > 0)
        throw this.#reader.corrupt(`a validity bitmap of ${tap.name}`, `none for ${nulls} nulls`);
      return end - start;
    }
    const first = start >> 3;
    const bytes = ((end - 1) >> 3) - first + 1;
    const { offset } = this.#range(batch, buffer, first, bytes, tap.name);
    const bits = await this.#reader.read(index, offset, offset + bytes);
    let row = start;
    while (row < end && ((bits[(row >> 3) - first]! >> (row & 7)) & 1) === 1) row++;
    if (row < end && tap.scope === 'token' && tap.nullable !== true)
      throw this.#reader.corrupt(
        `a value in every row of ${tap.name}, which is not nullable,`,
        `none in row ${row}`,
      );
    return row - start;
  }

  async #ints(
    batch: BatchMessage,
    index: number,
    buffer: number,
    start: number,
    count: number,
    name: string,
  ): Promise<Int32Array> {
    const { offset } = this.#range(batch, buffer, 4 * start, 4 * count, name);
    const bytes = await this.#reader.read(index, offset, offset + 4 * count);
    return new Int32Array(bytes.buffer, bytes.byteOffset, count);
  }

  /** The byte range of part of a buffer; throws where the buffer is shorter than the rows need. */
  #range(batch: BatchMessage, buffer: number, start: number, bytes: number, name: string): BufferRange {
    const range = batch.buffers[buffer];
    if (range === undefined || start + bytes > range.bytes)
      throw this.#reader.corrupt(`${start + bytes} bytes of ${name}`, `a buffer of ${range?.bytes ?? 0}`);
    return { offset: range.offset + start, bytes };
  }

  async #readRows(): Promise<FileRows> {
    if (this.#file === undefined) {
      const none = new Int32Array(0);
      return { starts: new Float64Array(1), sequence: none, position: none, tokenId: none, step: none };
    }
    const starts = new Float64Array(this.#reader.batchCount + 1);
    const parts: Int32Array[][] = [[], [], [], []];
    for (let index = 0; index < this.#reader.batchCount; index++) {
      const batch = await this.#reader.batch(index);
      starts[index + 1] = starts[index]! + batch.rows;
      this.#requireLengths(batch);
      for (const [column, list] of parts.entries()) {
        this.#requireNoNulls(batch, column, INDEX_COLUMNS[column]!);
        list.push(await this.#ints(batch, index, 2 * column + 1, 0, batch.rows, INDEX_COLUMNS[column]!));
      }
    }
    const [sequence, position, tokenId, step] = parts.map((list) => concatenate(list, starts.at(-1)!));
    const rows = { starts, sequence: sequence!, position: position!, tokenId: tokenId!, step: step! };
    const fault = this.#claims && rowFault(this.#claims, this.#taps, rows);
    if (fault !== undefined) throw this.#reader.corrupt(fault.expected, fault.got);
    return rows;
  }
}

function concatenate(parts: readonly Int32Array[], length: number): Int32Array {
  const all = new Int32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The batch that holds a row, by bisection. */
function batchOf(starts: Float64Array, row: number): number {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Rows whose axes are stored in another order, put right. */
function transposed(stored: TapElements, rows: number, { order, shape }: StoredOrder): TapElements {
  const out = emptyLike(stored, stored.length);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  const sizes = order.map((axis) => shape[axis]!);
  const steps = order.map((axis) => strides[axis]!);
  const width = stored.length / rows;
  const index = sizes.map(() => 0);
  for (let k = 0, from = 0; k < width; k++) {
    for (let row = 0; row < rows; row++) out[row * width + k] = stored[row * width + from]!;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++index[axis]! < sizes[axis]!) break;
      from -= steps[axis]! * sizes[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
