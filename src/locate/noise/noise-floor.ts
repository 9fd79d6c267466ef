import { leadingColumns } from '../../diff/leading-columns.js';
import { MetricSums } from '../../diff/metrics.js';
import { nonFiniteCounts } from '../../diff/non-finite.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { isMasked, type TapInfo } from '../../dump/format.js';
import { fitDump, fitDumps } from '../../dump/names/fitted-dump.js';
import { ZayascopeError } from '../../errors.js';
import { tokenMismatch } from '../faults/mismatch.js';
import { judge, NOISE_RATIO, noiseRatio, type Verdict } from '../faults/verdict.js';
import { commonRows } from './common-rows.js';
import type { Band } from './floor/band.js';
import { type FloorJudgement, type FloorTap, judgeByFloor } from './floor/judge.js';
import { type ErrorPair, ErrorPairSums, requireNoise, requireOtherFolder } from './noise-standing.js';

/** A tap's error beside the noise of the reference itself. */
export interface TapNoise {
  tap: string;
  block: number | null;
  /** Energy NMSE of the tested values against the F32 reference. */
  nmse: number;
  /**
   * Energy NMSE of the reference's own low-precision run against the same; of a noise floor, the median of
   * the runs that the value is judged by.
   */
  noiseNmse: number;
  /** Of a noise floor: where the errors of those runs lie. null for a single run. */
  band: Band | null;
  /** Of a noise floor: the probability of an error as large, if it is noise; not corrected. null as above. */
  probability: number | null;
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
   * not. Of a noise floor: `above noise` or `broken` for what is improbable, see `judgeByFloor`.
   */
  verdict: Verdict;
}

/** What {@link judgeNoise} finds. */
export interface NoiseJudgement {
  /** In execution order. */
  taps: TapNoise[];
  /** Of a noise floor; null for the noise of a single run. */
  floor: FloorJudgement | null;
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
      band: null,
      probability: null,
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
  return (await judgeNoise(referenceDump, lowDump, testedDump)).taps;
}

/**
 * As {@link noiseFloor}; with a dump of `measureNoise` values are judged by all of its runs, as
 * `docs/noise.md` says. Throws as {@link noiseFloor}; `BAD_DUMP` for a floor whose file is broken.
 */
export async function judgeNoise(
  referenceDump: DumpView,
  lowDump: DumpView,
  testedDump: DumpView,
): Promise<NoiseJudgement> {
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
  const runs = await lowDump.noise?.();
  if (runs === undefined) return { taps: reports, floor: null };
  const floor = await judgeByFloor(reference, tested, runs);
  const judged = new Map(floor.taps.map((tap) => [tap.tap, tap]));
  return { taps: reports.map((tap) => byFloor(tap, judged.get(tap.tap))), floor };
}

/** A value as all runs of a floor judge it; as the first one does where they cannot. */
function byFloor(single: TapNoise, judged: FloorTap | undefined): TapNoise {
  if (judged === undefined || single.nonFinite.tested > 0) return single;
  const { band, probability, beyond, smooth } = judged;
  const smoothSizes =
    smooth === null
      ? []
      : [smooth, ...(smooth.step === null ? [] : [{ ...smooth.step, ratio: smooth.step.factor }])];
  const smoothRatio = Math.max(0, ...smoothSizes.map(({ ratio, band: { high } }) => noiseRatio(ratio, high)));
  const ratio = Math.max(noiseRatio(single.nmse, band.high), beyond === 'smooth error' ? smoothRatio : 0);
  const beyondVerdict = ratio > NOISE_RATIO.bad ? 'broken' : 'above noise';
  return {
    ...single,
    noiseNmse: band.median,
    band,
    probability,
    ratio: noiseRatio(single.nmse, band.median),
    nonFinite: { ...single.nonFinite, noise: 0 },
    verdict: single.nmse === 0 ? 'identical' : beyond === null ? 'within noise' : beyondVerdict,
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
