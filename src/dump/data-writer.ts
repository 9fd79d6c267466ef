import { ZayascopeError } from '../errors.js';
import { COLUMN_SIZE, columnKind, dataSchema, INDEX_COLUMNS, rowElements } from './arrow/columns.js';
import { ArrowWriter } from './arrow/writer.js';
import { elementBytes, type RowIndex, type TapSpec } from './format.js';

/** A tap's value handed to the writer. */
export interface TapValue {
  /** Contiguous little-endian elements of the tap's dtype. May be a view of memory that is reused once the append has resolved. */
  bytes: Uint8Array;
  /** Scope `token`: [rows, ...shape]. Scope `step`: the value's own shape. Slowest axis first. */
  shape: readonly number[];
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

/** Writes the tensors of one block: turns the values of an append into Arrow nodes and buffers, without copying them. */
export class DataWriter {
  readonly #writer: ArrowWriter;
  readonly #taps: readonly TapSpec[];
  readonly #batchBytes: number;

  private constructor(writer: ArrowWriter, taps: readonly TapSpec[], batchBytes: number) {
    this.#writer = writer;
    this.#taps = taps;
    this.#batchBytes = batchBytes;
  }

  /** Creates the file. @param batchBytes rows are split over several record batches where one body would be larger. */
  static async create(
    path: string,
    block: number | null,
    taps: readonly TapSpec[],
    batchBytes: number,
  ): Promise<DataWriter> {
    let nodes = INDEX_COLUMNS.length;
    let buffers = 2 * INDEX_COLUMNS.length;
    for (const tap of taps) {
      nodes += COLUMN_SIZE[columnKind(tap)].nodes;
      buffers += COLUMN_SIZE[columnKind(tap)].buffers;
    }
    return new DataWriter(
      await ArrowWriter.create(path, dataSchema(block, taps), nodes, buffers),
      taps,
      batchBytes,
    );
  }

  /** Appends rows. Every tap of scope `token` needs a value; one of scope `step` may be missing. `BAD_ARGUMENT` names the tap at fault. */
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
      for (const [k, tap] of this.#taps.entries()) addColumn(nodes, buffers, tap, ordered[k], slice, rows);
      await this.#writer.append(count, nodes, buffers);
    }
  }

  finish(): Promise<void> {
    return this.#writer.finish();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  #slices(rows: number, values: readonly (TapValue | undefined)[]): Slice[] {
    let perRow = 16;
    let perBatch = 0;
    let listElements = 1;
    for (const [k, tap] of this.#taps.entries()) {
      const size = values[k]?.bytes.byteLength ?? 0;
      if (tap.scope === 'step') perBatch += size;
      else perRow += size / rows;
      if (tap.shape.includes(null))
        listElements = Math.max(listElements, size / rows / elementBytes(tap.dtype));
    }
    const step = Math.floor(
      Math.min((this.#batchBytes - perBatch) / perRow, MAX_LIST_ELEMENTS / listElements),
    );
    if (step < 1)
      throw new ZayascopeError(
        'BAD_ARGUMENT',
        `appendDump: expected a row of at most ${this.#batchBytes} bytes, got ${perRow + perBatch}`,
      );
    const slices: Slice[] = [];
    for (let start = 0; start < rows; start += step) {
      const end = Math.min(rows, start + step);
      slices.push({ start, end, last: end === rows });
    }
    return slices;
  }
}

/** Appends one tap's nodes and buffers, in the order of `COLUMN_SIZE`. */
function addColumn(
  nodes: number[],
  buffers: (Uint8Array | null)[],
  tap: TapSpec,
  value: TapValue | undefined,
  slice: Slice,
  rows: number,
): void {
  const count = slice.end - slice.start;
  const kind = columnKind(tap);
  if (tap.scope === 'step') {
    const present = slice.last && value !== undefined;
    addVarying(
      nodes,
      buffers,
      count,
      present ? 'last' : 'none',
      present ? value.bytes : EMPTY,
      tap,
      value?.shape ?? [],
    );
    return;
  }
  const { bytes, shape } = value!;
  const rowBytes = bytes.byteLength / rows;
  const part = bytes.subarray(slice.start * rowBytes, slice.end * rowBytes);
  if (kind === 'varying') {
    addVarying(nodes, buffers, count, 'all', part, tap, shape.slice(1));
    return;
  }
  nodes.push(count, 0);
  if (kind === 'fixed') {
    nodes.push(count * rowElements(tap), 0);
    buffers.push(null);
  }
  buffers.push(null, part);
}

const EMPTY = new Uint8Array(0);

/** A list column and its shape column; `present` says which rows have a value. */
function addVarying(
  nodes: number[],
  buffers: (Uint8Array | null)[],
  count: number,
  present: 'all' | 'last' | 'none',
  bytes: Uint8Array,
  tap: TapSpec,
  shape: readonly number[],
): void {
  const rank = tap.shape.length;
  const elements = bytes.byteLength / elementBytes(tap.dtype);
  const offsets = new Int32Array(count + 1);
  const shapes = new Int32Array(count * rank);
  let validity: Uint8Array | null = null;
  let nulls = 0;
  if (present === 'all') {
    for (let row = 0; row < count; row++) {
      offsets[row + 1] = ((row + 1) * elements) / count;
      shapes.set(shape, row * rank);
    }
  } else {
    validity = new Uint8Array(Math.ceil(count / 8));
    nulls = count;
    if (present === 'last') {
      nulls--;
      validity[(count - 1) >> 3] = 1 << ((count - 1) & 7);
      offsets[count] = elements;
      shapes.set(shape, (count - 1) * rank);
    }
    if (nulls === 0) validity = null;
  }
  nodes.push(count, nulls, elements, 0, count, nulls, count * rank, 0);
  buffers.push(validity, bytesOf(offsets), null, bytes, validity, null, bytesOf(shapes));
}

function checkValue(tap: TapSpec, value: TapValue | undefined, rows: number): TapValue | undefined {
  if (value === undefined) {
    if (tap.scope === 'step') return undefined;
    throw badValue(tap, `a value of ${rows} rows`, 'none');
  }
  const { shape, bytes } = value;
  const lead = tap.scope === 'token' ? 1 : 0;
  let fits = shape.length === lead + tap.shape.length && (lead === 0 || shape[0] === rows);
  for (let axis = 0; axis < tap.shape.length; axis++)
    fits &&= tap.shape[axis] === null || tap.shape[axis] === shape[lead + axis];
  if (!fits) {
    const expected = [...(lead === 1 ? [rows] : []), ...tap.shape.map((size) => size ?? 'any')];
    throw badValue(tap, `shape [${expected.join(', ')}]`, `[${shape.join(', ')}]`);
  }
  let sizeBytes: number = elementBytes(tap.dtype);
  for (const size of shape) sizeBytes *= size;
  if (bytes.byteLength !== sizeBytes) throw badValue(tap, `${sizeBytes} bytes`, String(bytes.byteLength));
  return value;
}

function badValue(tap: TapSpec, expected: string, got: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `appendDump: expected ${expected}, got ${got} (${tap.name})`, {
    op: 'appendDump',
    tensor: tap.name,
    dtypes: [tap.dtype],
  });
}

function bytesOf(array: Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
