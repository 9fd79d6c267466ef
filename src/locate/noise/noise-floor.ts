import { leadingColumns } from '../../diff/leading-columns.js';
import { MetricSums } from '../../diff/metrics.js';
import { nonFiniteCounts } from '../../diff/non-finite.js';
import { withSameSpan } from '../../diff/visible-span.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { isMasked, type TapInfo } from '../../dump/format.js';
import { fitDump, fitDumps } from '../../dump/names/fitted-dump.js';
import type { TensorBatch } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';
import { tokenMismatch } from '../faults/mismatch.js';
import { judge, noiseRatio, type Verdict } from '../faults/verdict.js';
import { type ErrorPair, ErrorPairSums, requireNoise, requireOtherFolder } from './noise-standing.js';

/** A tap's error beside the noise of the reference itself. */
export interface TapNoise {
  tap: string;
  block: number | null;
  /** Energy NMSE of the tested values against the F32 reference. */
  nmse: number;
  /** Energy NMSE of the reference's own low-precision run against the same. */
  noiseNmse: number;
  /** ‖tested error‖ / ‖noise‖; NaN where the noise is not finite. */
  ratio: number;
  /**
   * Σ√(p·q) of the histograms of both errors, signed, one bin an octave: 1 for the same distribution, 0 for
   * disjoint ones.
   */
  bhattacharyya: number;
  /**
   * Pairs with the reference of which a side is NaN or infinite (those of masked values left out); what is
   * not finite is in no figure.
   */
  nonFinite: { tested: number; noise: number };
  /**
   * `broken` where the tested side or the reference is not finite; without regard to the noise where that is
   * not.
   */
  verdict: Verdict;
}

/** Sign and exponent of an F32. */
const BINS = 512;

/** Accumulates a {@link TapNoise}. Memory does not grow with what is added. */
export class TapNoiseSums {
  readonly #tap: Pick<TapInfo, 'name' | 'block'>;
  readonly #masked: boolean;
  readonly #errors = { tested: new MetricSums(), low: new MetricSums() };
  readonly #histograms = { tested: new Float64Array(BINS), low: new Float64Array(BINS) };

  constructor(tap: Pick<TapInfo, 'name' | 'block'>) {
    this.#tap = tap;
    this.#masked = isMasked(tap);
  }

  /** Adds the same rows of all three, widened to F32. */
  add(reference: Float32Array, low: Float32Array, tested: Float32Array): void {
    for (const [side, values] of [
      ['low', low],
      ['tested', tested],
    ] as const) {
      this.#errors[side].add(reference, values);
      addHistogram(reference, values, this.#histograms[side]);
    }
  }

  report(): TapNoise {
    const [own, low] = [this.#errors.tested.metrics(), this.#errors.low.metrics()];
    const { nmse } = own;
    const noiseNmse = low.nmse;
    const rules = { masked: this.#masked, allowed: false };
    const nonFinite = {
      tested: nonFiniteCounts(own, rules)?.counted ?? 0,
      noise: nonFiniteCounts(low, rules)?.counted ?? 0,
    };
    const bhattacharyya = overlap(this.#histograms.tested, this.#histograms.low);
    return {
      tap: this.#tap.name,
      block: this.#tap.block,
      nmse,
      noiseNmse,
      ratio: nonFinite.noise > 0 ? Number.NaN : noiseRatio(nmse, noiseNmse),
      bhattacharyya,
      nonFinite,
      verdict:
        nonFinite.tested > 0
          ? 'broken'
          : judge(nonFinite.noise > 0 ? { nmse } : { nmse, noiseNmse, bhattacharyya }),
    };
  }
}

/**
 * Compares a tested dump and the reference's own low-precision run with the F32 reference, value by value,
 * streaming. Values and rows that not all three hold, and integers, are left out; in execution order. Throws
 * `UNPAIRED` where nothing is left, or where a dump ran other tokens than the reference; `BAD_ARGUMENT` for
 * another tier than full, and for a low-precision run that measures no rounding: the tested dump or the
 * reference itself, by folder or by bits, or a dump of another program that errs as the tested one does.
 */
export async function noiseFloor(
  referenceDump: DumpView,
  lowDump: DumpView,
  testedDump: DumpView,
): Promise<TapNoise[]> {
  const [reference, tested] = fitDumps(referenceDump, testedDump);
  const low = fitDump(lowDump, reference.taps);
  const tokens = tokenMismatch(reference, [low, tested]);
  // Rows are paired by position: errors of another prompt would pass for large noise, which covers all.
  if (tokens !== null)
    throw new ZayascopeError(
      'UNPAIRED',
      `noiseFloor: expected three dumps of one prompt, got DIFFERENT TOKENS: ${tokens.sentence} (${reference.dir}, ${low.dir}, ${tested.dir})`,
      { op: 'noiseFloor' },
    );
  requireOtherFolder('noiseFloor', reference, low, tested);
  const reports: TapNoise[] = [];
  const pairs: ErrorPair[] = [];
  const byName = [reference, low, tested].map(({ taps }) => new Map(taps.map((tap) => [tap.name, tap])));
  for (const tap of reference.taps) {
    const all = byName.map((taps) => taps.get(tap.name));
    if (all.some((other) => other === undefined || other.dtype === 'I32' || other.scope !== 'token'))
      continue;
    const sums = new TapNoiseSums(tap);
    const pair = new ErrorPairSums();
    let rows = 0;
    for await (const parts of commonRows([reference, low, tested], tap.name)) {
      const columns = Math.min(...parts.map(({ shape }) => shape.at(-1)!));
      const [a, b, c] = parts.map((part) => toFloat32(leadingColumns(part, columns).data, part.dtype)) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      sums.add(a, b, c);
      pair.add(a, b, c);
      rows += parts[0]!.shape[0]!;
    }
    if (rows === 0) continue;
    reports.push(sums.report());
    pairs.push(pair.pair());
  }
  if (reports.length === 0)
    throw new ZayascopeError(
      'UNPAIRED',
      `noiseFloor: expected values and rows that all three dumps hold, got none (${reference.dir}, ${low.dir}, ${tested.dir})`,
      { op: 'noiseFloor' },
    );
  requireNoise('noiseFloor', reference, low, pairs);
  return reports;
}

/** Rows read at a time. */
const PART_ROWS = 64;

/**
 * The rows of a tap that all dumps hold, by sequence and position, in the order of the first; the same number
 * from each at a time. Rows have one shape, but for the last axis of a tap of which a dump holds the first
 * entries only.
 */
export async function* commonRows(dumps: readonly DumpView[], name: string): AsyncGenerator<TensorBatch[]> {
  const rows = await Promise.all(dumps.map((dump) => dump.rows(name)));
  const [first, ...others] = rows.map(({ sequence, position }) =>
    Array.from(position, (at, row) => `${sequence[row]} ${at}`),
  );
  const found = others.map((keys) => new Map(keys.map((key, row) => [key, row])));
  const at = (row: number) => [row, ...found.map((map) => map.get(first![row]!) ?? -1)];
  for (let row = 0; row < first!.length; ) {
    const starts = at(row);
    if (starts.includes(-1)) {
      row++;
      continue;
    }
    let count = 1;
    const follows = () => at(row + count).every((other, side) => other === starts[side]! + count);
    while (count < PART_ROWS && row + count < first!.length && follows()) count++;
    yield* readTogether(dumps, name, starts, count);
    row += count;
  }
}

async function* readTogether(
  dumps: readonly DumpView[],
  name: string,
  starts: readonly number[],
  count: number,
): AsyncGenerator<TensorBatch[]> {
  for (let done = 0; done < count; ) {
    const read = await Promise.all(
      dumps.map((dump, side) => dump.readRows(name, starts[side]! + done, starts[side]! + count)),
    );
    const parts = read.filter((part) => part !== undefined);
    if (parts.length < read.length) {
      done++;
      continue;
    }
    const together = Math.min(...parts.map(({ shape }) => shape[0]!));
    const cut = withSameSpan(parts.map((part) => firstRows(part, together)));
    const prefixed = dumps.some(({ prefixes }) => prefixes.has(name));
    const size = ({ data, shape }: TensorBatch) => (prefixed ? data.length / shape.at(-1)! : data.length);
    if (cut.some((part) => size(part) !== size(cut[0]!)))
      throw new ZayascopeError(
        'UNPAIRED',
        `commonRows: expected rows of one shape, got ${cut.map(({ shape }) => `[${shape.slice(1)}]`).join(' and ')} (${name})`,
        { op: 'commonRows', tensor: name },
      );
    yield cut;
    done += together;
  }
}

function firstRows(part: TensorBatch, count: number): TensorBatch {
  const [rows, ...shape] = part.shape as [number, ...number[]];
  return {
    ...part,
    shape: [count, ...shape],
    data: part.data.subarray(0, (part.data.length / rows) * count),
    sequence: part.sequence.subarray(0, count),
    position: part.position.subarray(0, count),
    tokenId: part.tokenId.subarray(0, count),
    step: part.step.subarray(0, count),
  };
}

function addHistogram(a: Float32Array, b: Float32Array, histogram: Float64Array): void {
  const errors = new Float32Array(a.length);
  for (let k = 0; k < a.length; k++) errors[k] = a[k]! - b[k]!;
  const words = new Uint32Array(errors.buffer);
  for (let k = 0; k < words.length; k++) histogram[words[k]! >>> 23]!++;
}

/** Bins of NaN and infinity are left out. Two histograms without an entry are alike. */
function overlap(p: Float64Array, q: Float64Array): number {
  const counts = (bin: number) => (bin & 255) !== 255;
  const total = (histogram: Float64Array) =>
    histogram.reduce((sum, count, bin) => (counts(bin) ? sum + count : sum), 0);
  const [countP, countQ] = [total(p), total(q)];
  if (countP === 0 || countQ === 0) return countP === countQ ? 1 : 0;
  let sum = 0;
  for (let bin = 0; bin < BINS; bin++)
    if (counts(bin)) sum += Math.sqrt((p[bin]! / countP) * (q[bin]! / countQ));
  return Math.min(1, sum);
}
