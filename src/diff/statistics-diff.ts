/** The diff of two dumps of which at least one holds statistics only. */

import type { DumpView } from '../dump/dump-view.js';
import { isMasked } from '../dump/format.js';
import type { StatsRows } from '../dump/stats-reader.js';
import { noNonFinite, type TapNonFinite } from './non-finite.js';
import { positionFilter, type TapPair } from './pairing.js';
import type { StatisticsTapReport } from './report.js';
import { UnpairedRows } from './row-pairing.js';
import type { CompareRules, Comparison } from './tensor-diff.js';

const STATISTICS = ['min', 'max', 'mean', 'rms', 'absmax'] as const;

/** Compares the statistics of `pairs`, row by row: rows of one tap are paired by sequence and position. */
export async function diffStatistics(
  reference: DumpView,
  tested: DumpView,
  pairs: readonly TapPair[],
  { allowNonFinite }: Pick<CompareRules, 'allowNonFinite'>,
): Promise<Comparison> {
  const a = await reference.stats();
  const b = await tested.stats();
  const rowsA = rowsByTap(a);
  const rowsB = rowsByTap(b);
  const excludes = { reference: positionFilter(reference.manifest), tested: positionFilter(tested.manifest) };
  const comparison: Comparison = {
    tapReports: [],
    unpaired: [],
    notCaptured: { reference: 0, tested: 0 },
    logits: null,
    routing: null,
  };
  for (const pair of pairs) {
    const { name, file } = pair.reference;
    const [mine, others] = [rowsA.get(name) ?? new Map(), rowsB.get(pair.tested.name) ?? new Map()];
    const missing = new UnpairedRows();
    const shared: [number, number][] = [];
    for (const [key, row] of mine) {
      const other = others.get(key);
      if (other !== undefined) shared.push([row, other]);
      else if (excludes.tested(a.sequence[row]!, a.position[row]!)) comparison.notCaptured.tested++;
      else missing.add('tested', 'is missing', a, row);
    }
    for (const [key, row] of others) {
      if (mine.has(key)) continue;
      if (excludes.reference(b.sequence[row]!, b.position[row]!)) comparison.notCaptured.reference++;
      else missing.add('reference', 'is missing', b, row);
    }
    comparison.unpaired.push(...missing.list().map((entry) => ({ tap: name, file, ...entry })));
    comparison.tapReports.push(compareRows(pair, { a, b, shared }, allowNonFinite));
  }
  return comparison;
}

function compareRows(
  { reference, tested }: TapPair,
  { a, b, shared }: { a: StatsRows; b: StatsRows; shared: readonly [number, number][] },
  allowNonFinite: boolean,
): StatisticsTapReport {
  const masked = isMasked(reference) || isMasked(tested);
  const found = noNonFinite();
  let error = 0;
  let power = 0;
  let known = shared.length > 0;
  let worstRelative = 0;
  let countMismatches = 0;
  let bothZero = shared.length > 0;
  for (const [row, other] of shared) {
    bothZero &&= a.absmax[row] === 0 && b.absmax[other] === 0 && a.nan[row]! + a.inf[row]! === 0;
    const finite = a.count[row]! - a.nan[row]! - a.inf[row]!;
    if (a.nan[row] !== b.nan[other] || a.inf[row] !== b.inf[other] || a.count[row] !== b.count[other])
      countMismatches++;
    addNonFinite(found, { a, b, row, other }, { masked, allowNonFinite });
    if (finite === 0) continue;
    const isFixed = a.min[row] === a.max[row] && b.min[other] === b.max[other];
    known &&= isFixed;
    error += leastError({ a, b, row, other }, isFixed ? finite : 1, finite);
    power += finite * a.rms[row]! ** 2;
    for (const name of STATISTICS)
      worstRelative = Math.max(
        worstRelative,
        relative(Math.abs(a[name][row]! - b[name][other]!), a.absmax[row]!),
      );
  }
  const equal =
    shared.length > 0 &&
    countMismatches === 0 &&
    found.counted + found.allowed === 0 &&
    shared.every(([row, other]) => STATISTICS.every((name) => Object.is(a[name][row], b[name][other])));
  return {
    kind: 'statistics',
    name: reference.name,
    block: reference.block,
    dtypes: { reference: reference.dtype, tested: tested.dtype },
    rows: shared.length,
    // Of zeros the sign stays unknown, so their bits do.
    identical: equal && known && shared.every(([row]) => a.absmax[row] !== 0),
    equal,
    known: known && countMismatches === 0,
    nonFinite: found.counted + found.allowed + found.masked === 0 ? null : found,
    nmseAtLeast: countMismatches > 0 ? Number.POSITIVE_INFINITY : relative(error, power),
    worstRelative: countMismatches > 0 ? Number.POSITIVE_INFINITY : worstRelative,
    countMismatches,
    bothZero: bothZero && countMismatches === 0,
  };
}

/**
 * The least squared error that a row's statistics allow. Each bounds it by itself: the mean and the RMS over
 * all elements, an extreme over the one element that has it, or over all where a row holds one value only.
 */
function leastError(
  { a, b, row, other }: { a: StatsRows; b: StatsRows; row: number; other: number },
  extremes: number,
  finite: number,
): number {
  const squared = (name: (typeof STATISTICS)[number]) => (a[name][row]! - b[name][other]!) ** 2;
  return Math.max(
    finite * squared('rms'),
    finite * squared('mean'),
    extremes * squared('min'),
    extremes * squared('max'),
  );
}

/** Statistics hold counts, no places: as many infinities on both sides are taken for the same ones. */
function addNonFinite(
  found: TapNonFinite,
  { a, b, row, other }: { a: StatsRows; b: StatsRows; row: number; other: number },
  { masked, allowNonFinite }: { masked: boolean; allowNonFinite: boolean },
): void {
  const [nanA, nanB, infA, infB] = [a.nan[row]!, b.nan[other]!, a.inf[row]!, b.inf[other]!];
  found.nan.reference += nanA;
  found.nan.tested += nanB;
  found.inf.reference += infA;
  found.inf.tested += infB;
  const sameNaN = nanA === nanB ? nanA : 0;
  const sameInf = infA === infB ? infA : 0;
  if (masked) found.masked += sameInf;
  else if (allowNonFinite) found.allowed += sameInf;
  else found.counted += sameInf;
  if (allowNonFinite) found.allowed += sameNaN;
  else found.counted += sameNaN;
  if (nanA !== nanB) found.counted += Math.max(nanA, nanB);
  if (infA !== infB) found.counted += Math.max(infA, infB);
}

function relative(difference: number, size: number): number {
  if (difference === 0) return 0;
  return size === 0 ? Number.POSITIVE_INFINITY : difference / size;
}

function rowsByTap(stats: StatsRows): Map<string, Map<string, number>> {
  const taps = new Map<string, Map<string, number>>();
  for (let row = 0; row < stats.length; row++) {
    const tap = stats.tap[row]!;
    let rows = taps.get(tap);
    if (rows === undefined) {
      rows = new Map();
      taps.set(tap, rows);
    }
    rows.set(`${stats.sequence[row]} ${stats.position[row]}`, row);
  }
  return taps;
}
