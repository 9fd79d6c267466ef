/**
 * The check that ports are accepted by: final logits of a tested run against a reference's. Needs no native
 * addon.
 */
import { badArgument } from '../../errors.js';
import { MetricSums, type TensorMetrics } from '../metrics.js';
import { type NonFiniteCounts, type NonFiniteRules, nonFiniteCounts } from '../non-finite.js';
import { samePlaceNotes } from '../sides/same-place.js';
import { requireReferenceFirst } from '../sides/side-by-side.js';
import type { UnpairedNonFinite } from '../unpaired-non-finite.js';
import { type PairedRows, pairLogitsRows } from './check-rows.js';
import type { LogitsRow, LogitsSource } from './check-source.js';
import { type LeftOut, LeftOutSums } from './left-out.js';
import { clippedLogProbabilities } from './log-probabilities.js';
import { type LogitRows, LogitsComparison, type LogitsReport, mostLikely } from './logits.js';

/** The variance NMSE from which llama.cpp's check fails. */
export const DEFAULT_LIMIT = 1e-2;

/** What llama.cpp's check calls a variance NMSE below a bound; beyond the last it is {@link WORST_BAND}. */
const BANDS = [
  [1e-6, 'essentially identical'],
  [1e-4, 'excellent'],
  [1e-3, 'very good'],
  [1e-2, 'good'],
  [0.1, 'acceptable'],
  [1, 'poor'],
] as const;

const WORST_BAND = 'worse than random';

/** The band of a variance NMSE; `perfect` for 0. NaN is in the worst. */
export function logitsBand(nmseVariance: number): string {
  if (nmseVariance === 0) return 'perfect';
  return BANDS.find(([bound]) => nmseVariance < bound)?.[1] ?? WORST_BAND;
}

/** Options of {@link checkLogits}. */
export interface LogitsCheckOptions {
  /** Compare all positions, aggregated, instead of the last of each sequence. Default false. */
  all?: boolean;
  /** Largest variance NMSE that passes, 0 or more. Default {@link DEFAULT_LIMIT}. */
  failAbove?: number;
  /**
   * Logits that are not finite in the same way on both sides are left out and counted, instead of failing the
   * check. Default false.
   */
  allowNonFinite?: boolean;
}

/** One of the likeliest tokens of the last row. */
export interface TopToken {
  id: number;
  logit: number;
}

/** The outcome. Numbers may be infinite. */
export interface LogitsCheckReport {
  /**
   * True if the tokens do not differ, the variance NMSE is at most the limit, nothing counts as not finite,
   * in the rest of the tested dump too, both runs finished, and a smaller vocabulary leaves out padding only.
   */
  pass: boolean;
  failAbove: number;
  reference: { name: string; vocabulary: number };
  tested: { name: string; vocabulary: number };
  tokens: TokensCheck;
  /** Columns compared: the smaller vocabulary (a trimmed one lacks the last ids, which are padding). */
  vocabulary: number;
  /** What the smaller vocabulary leaves out of the larger; null where both are of one size. */
  leftOut: LeftOut | null;
  /**
   * Rows compared. 0, with nothing below, where the tokens differ: what follows other tokens cannot be
   * compared.
   */
  rows: number;
  band: string | null;
  /** Names of the sides whose producer did not finish: with one nothing passes. */
  partial: string[];
  /** Logits that are not finite, and the first pair that counts against the check; null where all are. */
  nonFinite: LogitsNonFinite | null;
  /**
   * What else of the tested dump is not finite, by its statistics: with one nothing passes. null where that
   * is not known, or what was compared is not finite itself.
   */
  otherNonFinite: UnpairedNonFinite | null;
  metrics: TensorMetrics | null;
  /** Population variance of the reference's logits. */
  referenceVariance: number | null;
  /** KL, agreement of the likeliest tokens and their margins. */
  logits: LogitsReport | null;
  /** What the rows are: log-probabilities where a side has nothing else. */
  values: LogitsSource['values'];
  /** What a reader should know about the sides. */
  notes: readonly string[];
  /** The likeliest tokens in the last row compared; none of a side whose row has a NaN or +Infinity. */
  top: { reference: TopToken[]; tested: TopToken[] } | null;
}

/** {@link NonFiniteCounts} of logits. `first` is null where no pair counts. */
export interface LogitsNonFinite extends NonFiniteCounts {
  first: { sequence: number; position: number; id: number; reference: number; tested: number } | null;
}

/** Whether both sides were fed the same. `unknown`: a side does not say. */
export interface TokensCheck {
  outcome: 'same' | 'different' | 'unknown';
  /** Tokens of all sequences of the sides; null where unknown. */
  reference: number | null;
  tested: number | null;
  /** The first difference; undefined as an id where that side has no such token. */
  first: { sequence: number; position: number; reference?: number; tested?: number } | null;
}

/**
 * Compares logits.
 *
 * @throws `BAD_ARGUMENT` for a negative limit, for a port's logits as the reference of transformers' own, and
 * with `all` for a raw file of one row; `UNPAIRED` where one side lacks a row that the other has.
 */
export async function checkLogits(
  reference: LogitsSource,
  tested: LogitsSource,
  options: LogitsCheckOptions = {},
): Promise<LogitsCheckReport> {
  const { all = false, failAbove = DEFAULT_LIMIT, allowNonFinite = false } = options;
  if (!(failAbove >= 0)) throw badArgument('verifyLogits', 'a limit of 0 or more', failAbove);
  requireReferenceFirst('verify-logits', reference.origin, tested.origin);
  const tokens = compareTokens(reference, tested);
  const vocabulary = Math.min(reference.vocabulary, tested.vocabulary);
  const sides = { reference: describe(reference), tested: describe(tested) };
  const isNormed = [reference, tested].some(({ values }) => values === 'log-probabilities');
  const values: LogitsSource['values'] = isNormed ? 'log-probabilities' : 'logits';
  checkWidths(reference, tested);
  const partial = [reference, tested].filter((side) => side.partial === true).map(({ name }) => name);
  const places = [reference.origin?.path, tested.origin?.path];
  const what = tested.kind === 'dump' ? 'dump' : 'file';
  const notes = [
    ...(places.includes(undefined) ? [] : samePlaceNotes(places[0]!, places[1]!, what)),
    ...new Set([...reference.notes, ...tested.notes]),
  ];
  const base = { failAbove, ...sides, tokens, vocabulary, values, partial, notes };
  const nothing = {
    band: null,
    leftOut: null,
    nonFinite: null,
    otherNonFinite: null,
    metrics: null,
    referenceVariance: null,
    logits: null,
    top: null,
  };
  if (tokens.outcome === 'different') return { ...base, pass: false, rows: 0, ...nothing };
  const { pairs, note }: PairedRows = pairLogitsRows(reference, tested, all);
  if (note !== undefined) notes.push(note);
  const sums = new MetricSums({ allowNaN: allowNonFinite });
  const variance = new Variance();
  const comparison = new LogitsComparison();
  const left = new LeftOutSums(reference.vocabulary, tested.vocabulary);
  let top: LogitsCheckReport['top'] = null;
  let first: LogitsNonFinite['first'] = null;
  const rules = { masked: reference.masked === true || tested.masked === true, allowed: allowNonFinite };
  for (const [mine, other] of pairs) {
    const [x, y] = [await reference.read(mine), await tested.read(other)];
    left.add(x, y);
    // Logits alone lack no constant: with a side of log-probabilities both are made such.
    const a = (isNormed ? clippedLogProbabilities(x) : x).subarray(0, vocabulary);
    const b = (isNormed ? clippedLogProbabilities(y) : y).subarray(0, vocabulary);
    sums.add(a, b);
    variance.add(a);
    first ??= firstNonFinite(a, b, reference.rows[mine]!, rules);
    comparison.add(asRows(a, reference.rows[mine]!), asRows(b, tested.rows[other]!));
    top = { reference: topTokens(a), tested: topTokens(b) };
  }
  const metrics = sums.metrics();
  if (variance.value() === 0 && metrics.nonFinite === 0)
    notes.push(
      'the logits of the reference are all equal: no token is likelier than another, and their variance, by which the error is divided, is 0',
    );
  const counts = nonFiniteCounts(metrics, rules);
  const allFinite = counts === null || counts.counted === 0;
  const asksOthers = counts === null || counts.counted + counts.allowed === 0;
  const others = (asksOthers && (await tested.otherNonFinite?.(allowNonFinite))) || null;
  const leftOut = left.report();
  // Something must be left to judge.
  const judged = metrics.elements - metrics.nonFinite > 0;
  return {
    ...base,
    pass:
      allFinite &&
      judged &&
      partial.length === 0 &&
      (others?.counted ?? 0) === 0 &&
      (leftOut === null || leftOut.isPadding) &&
      metrics.nmseVariance <= failAbove,
    rows: pairs.length,
    leftOut,
    band: allFinite && judged ? logitsBand(metrics.nmseVariance) : null,
    nonFinite: counts === null ? null : { ...counts, first },
    otherNonFinite: others,
    metrics,
    referenceVariance: variance.value(),
    logits: comparison.report(),
    top,
  };
}

/**
 * A file in which nothing says what it holds may be read in the wrong width: as a multiple of the other
 * side's.
 */
function checkWidths(reference: LogitsSource, tested: LogitsSource): void {
  const sides = [
    [reference, tested.vocabulary],
    [tested, reference.vocabulary],
  ] as const;
  const refuse = (other: number, { vocabulary, name }: LogitsSource, why: string): never => {
    const expected = `a row of ${other} logits, as the other side has`;
    throw badArgument('verifyLogits', expected, `${vocabulary} in ${name}${why}`);
  };
  for (const [side, other] of sides)
    if (side.unmarked !== undefined && side.vocabulary !== other && side.vocabulary % other === 0)
      refuse(other, side, ` (several rows? --vocabulary ${other}; F64? --dtype f64)`);
  for (const [side, other] of sides)
    if (side.unmarked?.hasDtype === false && side.vocabulary * 2 === other)
      refuse(
        other,
        side,
        ', read as F32 (of 2 bytes each? --dtype bf16 or f16; --dtype f32 if half the vocabulary is right)',
      );
}

/** The first pair of a row that counts against the check. */
function firstNonFinite(
  a: Float32Array,
  b: Float32Array,
  { sequence, position }: LogitsRow,
  { masked, allowed }: NonFiniteRules,
): LogitsNonFinite['first'] {
  const id = a.findIndex((x, at) => {
    const y = b[at]!;
    if (Number.isFinite(x) && Number.isFinite(y)) return false;
    if (x === y) return !masked && !allowed;
    return !(allowed && Number.isNaN(x) && Number.isNaN(y));
  });
  return id < 0 ? null : { sequence, position, id, reference: a[id]!, tested: b[id]! };
}

function compareTokens(reference: LogitsSource, tested: LogitsSource): TokensCheck {
  const [{ tokens: a }, { tokens: b }] = [reference, tested];
  // llama-perplexity keeps the text's first token of a chunk although it feeds bos in its place, and a dump
  // may hold some of the chunks.
  const isPart = (reference.kind === 'perplexity file') !== (tested.kind === 'perplexity file');
  const extent = isPart ? Math.min : Math.max;
  const count = (tokens: LogitsSource['tokens']): number | null =>
    tokens?.reduce((sum, { length }) => sum + length, 0) ?? null;
  const counts = { reference: count(a), tested: count(b) };
  if (a === undefined || b === undefined) return { outcome: 'unknown', ...counts, first: null };
  for (let sequence = 0; sequence < extent(a.length, b.length); sequence++) {
    const [left, right] = [a[sequence] ?? [], b[sequence] ?? []];
    for (let position = 0; position < extent(left.length, right.length); position++) {
      const [x, y] = [left[position], right[position]];
      if (x === y || (isPart && position === 0)) continue;
      const ids = { reference: x, tested: y };
      return { outcome: 'different', ...counts, first: { sequence, position, ...ids } };
    }
  }
  return { outcome: 'same', ...counts, first: null };
}

function asRows(data: Float32Array, { sequence, position }: LogitsRow): LogitRows {
  return {
    dtype: 'F32',
    shape: [1, data.length],
    data,
    sequence: Int32Array.of(sequence),
    position: Int32Array.of(position),
  };
}

function topTokens(logits: Float32Array): TopToken[] {
  return mostLikely(logits).map((id) => ({ id, logit: logits[id]! }));
}

function describe({ name, vocabulary }: LogitsSource): { name: string; vocabulary: number } {
  return { name, vocabulary };
}

/** Population variance of finite values in one pass, around the first of them. */
class Variance {
  #shift: number | undefined;
  #count = 0;
  #sum = 0;
  #squares = 0;

  add(values: Float32Array): void {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      this.#shift ??= value;
      const offset = value - this.#shift;
      this.#count++;
      this.#sum += offset;
      this.#squares += offset * offset;
    }
  }

  value(): number {
    if (this.#count === 0) return 0;
    return Math.max(0, this.#squares / this.#count - (this.#sum / this.#count) ** 2);
  }
}
