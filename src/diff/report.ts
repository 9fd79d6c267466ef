/**
 * What a diff finds, as plain data. Numbers may be infinite or NaN: {@link reportToJson} spells those as
 * strings.
 */
import type { DumpProducer, DumpTier, TapDtype, TapOrder } from '../dump/format.js';
import type { IntegerMetrics } from './integers.js';
import type { LogitsReport } from './logits/logits.js';
import type { TensorMetrics } from './metrics.js';
import type { ReportNonFinite, TapNonFinite } from './non-finite.js';
import type { Outcome } from './outcome.js';
import type { RoutingReport } from './routing.js';
import type { UlpDistances } from './ulp.js';
import type { UnpairedNonFinite } from './unpaired-non-finite.js';

/** One side of a diff. */
export interface SideReport {
  /** Basename of the dump's folder. */
  label: string;
  tier: DumpTier;
  status: 'partial' | 'complete';
  producer: DumpProducer;
  /** Name of the dtype policy. */
  policy: string;
  backend: string;
  /** What its dump says; of an unknown program only a name. */
  model: { name: string; dtype?: string; configSha256?: string; weightsSha256?: string };
}

/** An element of a tap. */
export interface ElementPlace {
  sequence: number;
  /** Token position. */
  position: number;
  /** Index within the row, slowest axis first. */
  index: number[];
  reference: number;
  tested: number;
  /** Both values in digits, where an I64 is beyond 2^53 and the numbers above are rounded. */
  exact?: { reference: string; tested: string };
}

/** Fields that every compared tap has. */
interface TapReportBase {
  name: string;
  /** Decoder block; null for embedding and head. */
  block: number | null;
  dtypes: { reference: TapDtype; tested: TapDtype };
  /** Rows compared: token positions, or steps. */
  rows: number;
  /**
   * True if every element compared has the same bits (integers: the same value; hashes: the same hash) and is
   * finite, or an infinity of a value that is marked as masked. NaN is never identical, whatever its bits. Of
   * statistics: only where they fix every element, see `equal` of {@link StatisticsTapReport}.
   */
  identical: boolean;
  /**
   * What is not finite; null where everything is. Hashes do not tell: null unless a side holds the values.
   */
  nonFinite: TapNonFinite | null;
}

/** A tap of floats. */
export interface FloatTapReport extends TapReportBase {
  kind: 'float';
  metrics: Omit<TensorMetrics, 'maxAbsIndex'>;
  /** Where the largest absolute error stands; null without error. */
  worst: ElementPlace | null;
  ulp: UlpDistances;
}

/** A tap of integers. */
export interface IntegerTapReport extends TapReportBase {
  kind: 'integer';
  metrics: IntegerMetrics;
  /** The first differing entries, at most 20. */
  first: ElementPlace[];
}

/** A tap of which only statistics could be compared. */
export interface StatisticsTapReport extends TapReportBase {
  kind: 'statistics';
  /**
   * The least energy NMSE that the two sides' statistics allow: the largest of n(rms_a − rms_b)²,
   * n(mean_a − mean_b)², (min_a − min_b)² and (max_a − max_b)² of each row, over Σ n·rms_a². The true one may
   * be larger, so this can prove a difference but not its absence (unless `known`). Zero reference: 0 if the
   * tested side is zero too, else Infinity.
   */
  nmseAtLeast: number;
  /** Largest |difference| of any of min, max, mean, rms, absmax, relative to the reference row's absmax. */
  worstRelative: number;
  /**
   * True if there are rows, and all their statistics are the same finite numbers. Values may still differ.
   */
  equal: boolean;
  /**
   * True where the statistics fix every value, since each row holds one value throughout: `nmseAtLeast` is
   * then the error itself.
   */
  known: boolean;
  /** Rows whose counts of NaN or infinity differ. */
  countMismatches: number;
  /** True where there are rows and all elements are 0 on both sides. */
  bothZero: boolean;
}

/** A tap of which only hashes could be compared; `rows` counts hashes, one per sequence and step. */
export interface HashTapReport extends TapReportBase {
  kind: 'hash';
  /** Hashes that differ. */
  differing: number;
}

/** One compared tap. */
export type TapReport = FloatTapReport | IntegerTapReport | StatisticsTapReport | HashTapReport;

/**
 * Something that one side has and the other lacks, or that cannot be compared. One is enough for the diff not
 * to pass.
 */
export interface Unpaired {
  /** The tap, or null for rows of all taps of `file`. */
  tap: string | null;
  file: string;
  /** The side that lacks it; `both` where the two do not fit together. */
  side: 'reference' | 'tested' | 'both';
  reason: string;
  /** Rows concerned; 0 for a whole tap. */
  rows: number;
  /** The first of them, e.g. `sequence 0 position 5`. */
  example: string | null;
}

/** What one side's own selection left out: reported, not a failure. */
export interface NotCaptured {
  side: 'reference' | 'tested';
  /** The selection, as in its manifest. */
  selection: string;
  /** Taps that the other side has. */
  taps: number;
  /** Token positions (per file) that the other side has. */
  rows: number;
}

/** Taps of one block, or the taps before or after the blocks. */
export interface BlockReport {
  /** `input`, the block's number, or `output`; `no block` where the order is not known. */
  label: string;
  block: number | null;
  taps: number;
  identicalTaps: number;
  /** Taps of which only statistics were compared, and those are equal. */
  equalStatistics: number;
  /**
   * The tap with the largest error, and that error (energy NMSE, or its lower bound from statistics); null
   * where none is floating.
   */
  worst: { tap: string; nmse: number } | null;
  /**
   * Error of the group's last floating tap in execution order: what it passes on. null also where the order
   * is not known.
   */
  last: { tap: string; nmse: number } | null;
  /** Differing entries of integer taps, and differing hashes. */
  differing: number;
}

/** Where the tested run first departs from the reference, in the report's order. */
export interface FirstDivergence {
  tap: string;
  block: number | null;
  /**
   * `threshold`: its error exceeds `failAbove`, or its integers differ; `bits`: it is the first that is not
   * identical.
   */
  criterion: 'threshold' | 'bits';
  /** Energy NMSE, or its lower bound; null for integers and hashes. */
  nmse: number | null;
}

/** The outcome of a diff. */
export interface DiffReport {
  format: 'zayascope-diff';
  version: 1;
  /** What was compared; the least that both tiers allow. */
  kind: 'tensors' | 'statistics' | 'hashes';
  reference: SideReport;
  tested: SideReport;
  /** The tap pattern compared. */
  taps: string;
  /** Largest energy NMSE allowed for a floating tap; null where the diff only reports. */
  failAbove: number | null;
  /**
   * False if anything is unpaired, a side is partial, hardly a tap pairs, nothing was compared, or something
   * is not finite (see {@link TapNonFinite}), in what only the tested dump holds too; and, with a threshold,
   * if a floating tap's energy NMSE exceeds it, if only statistics speak for a tap (they bound its error from
   * below), or any integer, or any hash, differs.
   */
  pass: boolean;
  /** `pass` in a word; without a threshold values that differ are not judged. */
  outcome: Outcome;
  /**
   * Where hardly a tap of one side has a partner on the other (fewer than a tenth): a sentence that says so
   * and which map to pass; it is the first of `notes` too. null: enough pair.
   */
  namesApart: string | null;
  /** What is not finite in all that was compared. */
  nonFinite: ReportNonFinite;
  /** What is not finite in taps and rows that only the tested dump holds. */
  unpairedNonFinite: UnpairedNonFinite;
  /**
   * How `tapReports` are ordered. Unless it is `execution` or `declared`, what comes first is by name only.
   */
  order: TapOrder;
  firstDivergence: FirstDivergence | null;
  /** What a reader must know first, e.g. that the two ran different models. */
  notes: string[];
  unpaired: Unpaired[];
  notCaptured: NotCaptured[];
  blocks: BlockReport[];
  /** All compared taps, in the order that `order` says. */
  tapReports: TapReport[];
  /** Null where no tap of role `logits` was compared as a tensor. */
  logits: LogitsReport | null;
  /** Null where no tap of role `router.expert` was compared as a tensor. */
  routing: RoutingReport | null;
}

/** The error that a tap is judged by: energy NMSE, its lower bound, or null for integers and hashes. */
export function tapError(tap: TapReport): number | null {
  if (tap.kind === 'float') return tap.metrics.nmse;
  return tap.kind === 'statistics' ? tap.nmseAtLeast : null;
}

/** True for a tap of floats that is 0 throughout on both sides: that they agree says little. */
export function tapBothZero(tap: TapReport): boolean {
  if (tap.kind === 'float') return tap.metrics.bothZero;
  return tap.kind === 'statistics' && tap.bothZero;
}

/** Entries that differ where equality is the only measure. */
export function tapDiffering(tap: TapReport): number {
  if (tap.kind === 'integer') return tap.metrics.differing;
  return tap.kind === 'hash' ? tap.differing : 0;
}

/** True if a difference was seen: other bits, or other statistics. */
export function tapDiffers(tap: TapReport): boolean {
  return tap.kind === 'statistics' ? !tap.equal : !tap.identical;
}

/** True where only a lower bound of the error is known, which cannot pass a limit. */
export function tapOpen(tap: TapReport): boolean {
  return tap.kind === 'statistics' && tap.rows > 0 && !tap.known;
}

/** Pairs that are not finite and that nobody allowed: with one a tap fails. */
export function tapNonFinite({ nonFinite }: TapReport): number {
  return nonFinite?.counted ?? 0;
}

/** The report as JSON. Numbers that JSON lacks become the strings "NaN", "Infinity" and "-Infinity". */
export function reportToJson(report: DiffReport): string {
  const replace = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(report, replace, 1);
}
