/** Reading a tap row by row or whole, from a dump or from one that is seen through a name map. */
import { badArgument, type ZayascopeError } from '../errors.js';
import { rowItems } from './arrow/columns.js';
import type { ReusableBuffer } from './arrow/reader.js';
import type { FileRows, TensorBatch } from './data-reader.js';
import { itemBytes } from './dtypes.js';
import { copyElements, emptyLike } from './float.js';
import type { TapInfo } from './format.js';

/** Which rows to read. Default: all. */
export interface RowFilter {
  /** Forward step. */
  step?: number;
  sequence?: number;
}

/** One read is cut into parts of about this size. */
const CHUNK_BYTES = 2 ** 22;
/** Typed arrays take no more elements than this on every supported Node version. */
const MAX_ELEMENTS = 2 ** 31 - 1;

/** What reading a tap needs. */
interface TapRows {
  tap(name: string): TapInfo;
  rows(name: string): Promise<FileRows>;
  readRows(name: string, start: number, end: number, into?: ReusableBuffer): Promise<TensorBatch | undefined>;
}

/** As `Dump.stream`. */
export async function* streamTap(
  dump: TapRows,
  name: string,
  filter: RowFilter,
  into?: ReusableBuffer,
): AsyncGenerator<TensorBatch> {
  const tap = dump.tap(name);
  const rows = await dump.rows(name);
  // Where the shape varies, one row has to be seen before the size of the others can be guessed.
  let rowBytes = tap.shape.includes(null) ? CHUNK_BYTES : rowItems(tap) * itemBytes(tap.dtype);
  for (let start = 0; start < rows.position.length; ) {
    const end = matchingRun(rows, start, filter, Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)));
    const batch = end === start ? undefined : await dump.readRows(name, start, end, into);
    if (batch !== undefined) {
      rowBytes = batch.data.byteLength / batch.shape[0]!;
      yield batch;
    }
    start += batch?.shape[0] ?? 1;
  }
}

/** As `Dump.read`. */
export async function readTap(dump: TapRows, name: string, filter: RowFilter): Promise<TensorBatch> {
  const parts: TensorBatch[] = [];
  let elements = 0;
  for await (const part of streamTap(dump, name, filter)) {
    const shape = parts[0]?.shape ?? part.shape;
    if (part.shape.some((size, axis) => axis > 0 && size !== shape[axis]))
      throw badRead(name, 'rows of one shape', `[${shape.slice(1)}] and [${part.shape.slice(1)}]`);
    elements += part.data.length;
    if (elements > MAX_ELEMENTS) throw badRead(name, `at most ${MAX_ELEMENTS} elements`, 'more');
    parts.push(part);
  }
  if (parts.length === 0) throw badRead(name, 'rows that match', `none for ${JSON.stringify(filter)}`);
  return parts.length === 1 ? parts[0]! : joinParts(parts, elements);
}

/** End of the run of rows from `start` on that match, at most `most` of them. */
function matchingRun(rows: FileRows, start: number, filter: RowFilter, most: number): number {
  const limit = Math.min(rows.position.length, start + most);
  let end = start;
  while (
    end < limit &&
    (filter.step === undefined || rows.step[end] === filter.step) &&
    (filter.sequence === undefined || rows.sequence[end] === filter.sequence)
  )
    end++;
  return end;
}

function joinParts(parts: readonly TensorBatch[], elements: number): TensorBatch {
  const [first] = parts as [TensorBatch];
  const rows = parts.reduce((sum, part) => sum + part.shape[0]!, 0);
  const joined: TensorBatch = {
    ...first,
    shape: [rows, ...first.shape.slice(1)],
    data: emptyLike(first.data, elements),
    sequence: new Int32Array(rows),
    position: new Int32Array(rows),
    tokenId: new Int32Array(rows),
    step: new Int32Array(rows),
  };
  let row = 0;
  let element = 0;
  for (const part of parts) {
    copyElements(joined.data, part.data, element);
    for (const column of ['sequence', 'position', 'tokenId', 'step'] as const)
      joined[column].set(part[column], row);
    row += part.shape[0]!;
    element += part.data.length;
  }
  return joined;
}

/** An error of reading a tap: expectation, what came, where. */
export function badRead(name: string, expected: string, got: string): ZayascopeError {
  return badArgument('readDump', expected, got, name);
}
