/**
 * NaN and infinities in what only the tested dump holds: taps and rows without a partner. No pair counts
 * them, and no verdict may pass over them.
 */
import { isExact } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { hasNumbers, toFloat64 } from '../dump/float.js';
import { isMasked, type TapInfo } from '../dump/format.js';
import { ReusableBuffer, type TensorBatch } from '../dump/reader.js';
import type { StatsRows } from '../dump/stats-reader.js';
import { elementIndex } from '../element-index.js';
import type { DiffReport, TapReport } from './report.js';

/** Where a value stands that has no partner. */
export interface UnpairedPlace {
  sequence: number;
  /** Token position. */
  position: number;
  /** Index within the row, slowest axis first; null where it is not known (statistics). */
  index: number[] | null;
  /** NaN or an infinity; null where it is not known. */
  value: number | null;
}

/** What is not finite in what only the tested dump holds. */
export interface UnpairedNonFinite {
  nan: number;
  inf: number;
  /** Infinities of values that are marked as masked, where they are by design. */
  masked: number;
  /** Those that the caller allowed (`allowNonFinite`). */
  allowed: number;
  /** All others. With one of them nothing passes. */
  counted: number;
  /** Taps with any that counts. */
  taps: number;
  /** The first of these in the dump's order; its place is null where it is not known. */
  first: { tap: string; place: UnpairedPlace | null } | null;
}

/** What {@link unpairedNonFinite} reads. */
export interface UnpairedScan {
  kind: DiffReport['kind'];
  /** Which taps are judged. */
  matches(name: string): boolean;
  /** Those of both dumps, with what was counted in pairs. */
  tapReports: readonly Pick<TapReport, 'name' | 'rows' | 'nonFinite'>[];
  allowNonFinite: boolean;
}

/** NaN and infinities of one tap. */
interface Found {
  nan: number;
  inf: number;
  place: UnpairedPlace | null;
}

/** None of anything. */
export function noneUnpaired(): UnpairedNonFinite {
  return { nan: 0, inf: 0, masked: 0, allowed: 0, counted: 0, taps: 0, first: null };
}

/**
 * Counts them. Taps of which a row has no partner are read whole, once; of dumps that are compared by
 * statistics those say it; of hashes nothing can be said.
 */
export async function unpairedNonFinite(
  tested: DumpView,
  { kind, matches, tapReports, allowNonFinite }: UnpairedScan,
): Promise<UnpairedNonFinite> {
  const sum = noneUnpaired();
  if (tested.manifest.tier === 'hash') return sum;
  const paired = new Map(tapReports.map((tap) => [tap.name, tap]));
  const counted = kind === 'statistics' ? statisticsOf(await tested.stats()) : undefined;
  const memory = new ReusableBuffer();
  for (const tap of tested.taps) {
    const { name, dtype } = tap;
    // One of another layout has failed, and cannot be read.
    if (!matches(name) || tested.misfits?.has(name) || isExact(dtype) || !hasNumbers(dtype)) continue;
    const pair = paired.get(name);
    if (counted === undefined && pair !== undefined && pair.rows >= (await valueRows(tested, tap))) continue;
    const all = counted === undefined ? await scan(tested, name, memory) : counted.get(name);
    const [nan, inf] = [pair?.nonFinite?.nan.tested ?? 0, pair?.nonFinite?.inf.tested ?? 0];
    if (all === undefined || all.nan + all.inf <= nan + inf) continue;
    // Behind one that is counted in a pair the first without a partner is not known.
    const place = nan + inf === 0 ? all.place : null;
    add(sum, tap, { nan: all.nan - nan, inf: all.inf - inf, place }, allowNonFinite);
  }
  return sum;
}

/** The same of all values of a dump, as its statistics say. */
export async function recordedNonFinite(dump: DumpView, allowNonFinite: boolean): Promise<UnpairedNonFinite> {
  const sum = noneUnpaired();
  const found = statisticsOf(await dump.stats());
  // Statistics go by the producer's names, whatever names a map shows.
  for (const tap of dump.manifest.taps)
    if (found.has(tap.name)) add(sum, tap, found.get(tap.name)!, allowNonFinite);
  return sum;
}

/** Adds what one tap holds. */
function add(
  sum: UnpairedNonFinite,
  tap: Pick<TapInfo, 'name'>,
  { nan, inf, place }: Found,
  allowNonFinite: boolean,
): void {
  const masked = isMasked(tap) ? inf : 0;
  const left = nan + inf - masked;
  sum.nan += nan;
  sum.inf += inf;
  sum.masked += masked;
  sum[allowNonFinite ? 'allowed' : 'counted'] += left;
  if (left === 0 || allowNonFinite) return;
  sum.taps++;
  sum.first ??= { tap: tap.name, place };
}

/** At most as many values of a tap as the dump has: rows, or calls of a sequence. */
async function valueRows(dump: DumpView, { name, scope }: TapInfo): Promise<number> {
  const { position, sequence, step } = await dump.rows(name);
  if (scope === 'token') return position.length;
  let calls = 0;
  for (let row = 0; row < position.length; row++)
    if (row === 0 || step[row] !== step[row - 1] || sequence[row] !== sequence[row - 1]) calls++;
  return calls;
}

async function scan(dump: DumpView, name: string, memory: ReusableBuffer): Promise<Found> {
  const found: Found = { nan: 0, inf: 0, place: null };
  for await (const batch of dump.stream(name, {}, memory)) {
    const values = batch.data instanceof Float32Array ? batch.data : toFloat64(batch.data, batch.dtype);
    for (let k = 0; k < values.length; k++) {
      const value = values[k]!;
      if (value - value === 0) continue;
      if (Number.isNaN(value)) found.nan++;
      else found.inf++;
      found.place ??= placeOf(batch, k, value);
    }
  }
  return found;
}

function placeOf({ shape, sequence, position }: TensorBatch, flat: number, value: number): UnpairedPlace {
  const { index, row } = elementIndex(flat, shape.slice(1));
  return { sequence: sequence[row]!, position: position[row]!, index, value };
}

/** Counts of a dump's statistics by tap. */
function statisticsOf({ length, tap, sequence, position, nan, inf }: StatsRows): Map<string, Found> {
  const taps = new Map<string, Found>();
  for (let row = 0; row < length; row++) {
    if (nan[row]! + inf[row]! === 0) continue;
    const known = taps.get(tap[row]!);
    const place = { sequence: sequence[row]!, position: position[row]!, index: null, value: null };
    if (known === undefined) taps.set(tap[row]!, { nan: nan[row]!, inf: inf[row]!, place });
    else {
      known.nan += nan[row]!;
      known.inf += inf[row]!;
    }
  }
  return taps;
}
