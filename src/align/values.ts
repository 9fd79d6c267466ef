/**
 * The values of one call of one side, read for finding partners: elements, sorted elements, what feeds what.
 */
import { createHash } from 'node:crypto';
import { isExact } from '../dump/dtypes.js';
import { hasNumbers, toFloat32 } from '../dump/float.js';
import type { TapInfo } from '../dump/format.js';
import type { Dump } from '../dump/reader.js';
import { unmet, ZayascopeError } from '../errors.js';
import { quantilesOf } from './distance.js';

/** One value of one side. */
export interface SideValue {
  /** Its place among the taps of its dump. */
  index: number;
  tap: TapInfo;
  /** Slowest axis first, as a name map's layout sees it: the tokens first for scope `token`. */
  shape: readonly number[];
  isExact: boolean;
  data: Float32Array;
  /** Of its elements, {@link quantilesOf}. */
  quantiles: Float64Array;
  /** Sum of each row along the first axis. */
  rowSums: Float64Array;
  /** The same for values with the same elements in any order (of integers: in this order). */
  key: string;
}

/** The values of a dump's first call. */
export interface SideValues {
  values: SideValue[];
  /** Values that have no partner to be found by: constants, single numbers, masks; and why. */
  silent: { name: string; reason: string }[];
  tokens: number;
  positions: Int32Array;
  tokenIds: Int32Array;
}

/** Elements of a value beyond which it is left out. */
const MOST_ELEMENTS = 2 ** 25;
/** Different elements that a value needs to be told from others. */
const LEAST_DISTINCT = 16;
const LEAST_ELEMENTS = 12;

/**
 * Reads all values of step 0, sequence 0. @throws `UNPAIRED` for a dump without such rows, `BAD_DUMP`, `IO`.
 */
export async function readValues(dump: Dump, onRead: () => void): Promise<SideValues> {
  const side: SideValues = {
    values: [],
    silent: [],
    tokens: 0,
    positions: new Int32Array(),
    tokenIds: new Int32Array(),
  };
  for (const [index, tap] of dump.taps.entries()) {
    onRead();
    const rows = await dump.rows(tap.name);
    const isFirst = (row: number) => rows.step[row] === 0 && rows.sequence[row] === 0;
    const chosen = [...rows.position.keys()].filter(isFirst);
    if (side.tokens === 0 && chosen.length > 0) {
      side.tokens = chosen.length;
      side.positions = Int32Array.from(chosen, (row) => rows.position[row]!);
      side.tokenIds = Int32Array.from(chosen, (row) => rows.tokenId[row]!);
    }
    const reason = await readOne(dump, index, tap, side);
    if (reason !== undefined) side.silent.push({ name: tap.name, reason });
  }
  if (side.tokens === 0)
    throw unmet('UNPAIRED', 'align', 'values of a first call', 'none', { where: dump.dir });
  return side;
}

async function readOne(
  dump: Dump,
  index: number,
  tap: TapInfo,
  side: SideValues,
): Promise<string | undefined> {
  if (!hasNumbers(tap.dtype)) return `is stored in ${tap.dtype}`;
  const own = await readCall(dump, tap, { step: 0, sequence: 0 });
  if (own === undefined) return 'has no row in the first call';
  const { data, shape } = own;
  if (data.length > MOST_ELEMENTS) return `has more than ${MOST_ELEMENTS} elements`;
  const sorted = Float32Array.from(data).sort();
  const exact = isExact(tap.dtype);
  const reason = silence(sorted, exact);
  if (reason !== undefined) return reason;
  // Indices of several blocks are the same numbers in another order: they are what stands where.
  const { buffer, byteOffset, byteLength } = exact ? data : sorted;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const key = createHash('sha256').update(bytes).digest('hex');
  side.values.push({
    index,
    tap,
    shape,
    isExact: exact,
    data,
    quantiles: quantilesOf(sorted),
    rowSums: rowSums(data, shape[0] ?? 1),
    key,
  });
  return undefined;
}

/** A call of one sequence. */
export interface Call {
  step: number;
  sequence: number;
}

/** Elements of a tap in one call; undefined where it has no row there. @throws `BAD_DUMP`, `IO`. */
export async function readCall(
  dump: Dump,
  tap: TapInfo,
  call: Call,
): Promise<Pick<SideValue, 'tap' | 'shape' | 'data'> | undefined> {
  const batch = await dump.read(tap.name, { ...call }).catch((error: unknown) => {
    if (error instanceof ZayascopeError && error.code === 'BAD_ARGUMENT') return undefined;
    throw error;
  });
  if (batch === undefined) return undefined;
  const shape = tap.scope === 'step' ? batch.shape.slice(1) : batch.shape;
  return { tap, shape, data: toFloat32(batch.data, tap.dtype) };
}

/** Elements as a value that layouts can be looked for of. */
export function sideValueOf({ tap, shape, data }: Pick<SideValue, 'tap' | 'shape' | 'data'>): SideValue {
  return {
    index: -1,
    tap,
    shape,
    isExact: isExact(tap.dtype),
    data,
    quantiles: quantilesOf(Float32Array.from(data).sort()),
    rowSums: rowSums(data, shape[0] ?? 1),
    key: '',
  };
}

/** Why a value cannot be told from others; undefined where it can. */
function silence(sorted: Float32Array, exact: boolean): string | undefined {
  if (sorted.length < LEAST_ELEMENTS) return `has ${sorted.length} elements`;
  if (Number.isNaN(sorted.at(-1))) return 'holds NaN';
  const least = exact ? 2 : LEAST_DISTINCT;
  let distinct = 1;
  for (let k = 1; k < sorted.length && distinct < least; k++) if (sorted[k] !== sorted[k - 1]) distinct++;
  if (distinct < least) return distinct === 1 ? 'is a constant' : `has ${distinct} different elements`;
  return undefined;
}

function rowSums(data: Float32Array, rows: number): Float64Array {
  const sums = new Float64Array(rows);
  const width = data.length / rows;
  for (let k = 0; k < data.length; k++) sums[Math.floor(k / width)]! += data[k]!;
  return sums;
}
