import type { ElementPlace, FloatTapReport, IntegerTapReport } from '../../diff/report.js';
import { compareTap, type TapComparison } from '../../diff/tap-comparison.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import type { TapInfo } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { architectureOf } from '../../models/architectures.js';
import { type ReplayOptions, type Runner, replay } from '../replay/replay.js';
import { countRoundedOnce, type HalfDtype, narrow, RoundingSums } from './dtypes/rounding.js';
import { ColumnErrors, type SystematicError } from './dtypes/systematic.js';
import { hiddenChoices, leadBlock, lostLead, SureTokens, unseenProbabilities } from './hidden-choices.js';
import { ErrorSpread, type Spread } from './spread.js';
import { axisSizes, EntryErrors } from './where/entries.js';
import { RowErrors } from './where/row-errors.js';

/** The error that one op makes by itself: on the dump's inputs, against the dump's output. */
export interface LocalError {
  tap: TapInfo;
  /**
   * Energy NMSE; Infinity where NaN or infinity is on one side only. Integers: share of entries that differ.
   * Where a choice of experts that the dump does not show lies inside the op's span, over tokens whose choice
   * is sure.
   */
  nmse: number;
  /**
   * What rounding values of the right ones' sizes to a dtype makes of them, as energy NMSE: no op that rounds
   * its output is nearer, on average. 0 for integers.
   */
  rounding: Readonly<Record<HalfDtype, number>>;
  /** The narrowest dtype that holds all values of the dump as they are; null for integers. */
  precision: HalfDtype | 'F32' | null;
  /** Elements compared, and the share of them with the same bits. */
  elements: number;
  bitEqual: number;
  /**
   * Share of the dump's elements that are the computed ones rounded once to `precision`, halves either way: 1
   * where nothing but an op's output is rounded. 0 for integers, and where the dump is finer than F16.
   */
  roundedOnce: number;
  /**
   * Parts of the error that are the same for all tokens; null unless asked for, for integers, values of a
   * call, and where a choice of experts is hidden.
   */
  systematic: SystematicError | null;
  /** Entries that differ; 0 for floats. */
  differing: number;
  /**
   * Of choices of experts whose probabilities the dump does not hold: by how much the recomputed ones prefer
   * other experts than the dump's, at most. null for all else.
   */
  lostLead: number | null;
  /** NaNs and infinities of each side. */
  nonFinite: { dumped: number; computed: number };
  /** Where the largest error stands, with the right value as `reference`; null without error. */
  place: ElementPlace | null;
  /** The first entries of integers that differ. */
  differences: ElementPlace[];
  /** How the error lies over tokens and columns; null unless asked for, for integers, and without error. */
  spread: Spread | null;
  /** Errors of rows, for where the error begins; null unless asked for with `spreads`, and without error. */
  rows: RowErrors | null;
  /** Errors by head, channel, key and expert; null as `rows`. */
  entries: EntryErrors | null;
}

/** Options of {@link localErrors}. */
export interface LocalOptions extends Pick<ReplayOptions, 'onProgress' | 'signal' | 'holds'> {
  /** Which side is right: errors are relative to it. */
  right: 'dump' | 'computed';
  /** True for values whose error is to be measured by token and column; default none. */
  spreads?: (error: { tap: string; nmse: number }) => boolean;
  /** True for {@link LocalError.systematic}; default false. */
  systematic?: boolean;
}

/** Errors of all ops of an isolated replay, by tap, in execution order. Throws as {@link replay}. */
export async function localErrors(
  runner: Runner,
  dump: DumpView,
  options: LocalOptions,
): Promise<Map<string, LocalError>> {
  const { right, spreads, systematic = false, ...rest } = options;
  const { holds = () => true } = options;
  const sums = new Map<string, LocalSums>();
  const held = new Set(dump.taps.map(({ name }) => name).filter(holds));
  const { family, skipBiases } = architectureOf(runner.config);
  const skip = skipBiases === undefined ? undefined : runner.config.num_experts;
  const hidden = hiddenChoices(held, runner.config, family);
  const watched = new Set([...hidden.values()].flat());
  const leads = new Map<number, Float32Array>();
  const unseen = unseenProbabilities(held, family);
  const wanted = new Set(unseen.values());
  const probabilities = new Map<string, Float32Array>();
  const sizes = axisSizes(dump.taps);
  // The choice of each block in the last call: what follows in that call depends on it.
  const choices = new Map<number | null, { call: string; experts: Int32Array }>();
  await replay(runner, {
    dump,
    ...rest,
    watches: (name) => wanted.has(name) || watched.has(leadBlock(name, family) ?? -1),
    watch(name, values) {
      if (wanted.has(name)) probabilities.set(name, values.slice());
      else leads.set(leadBlock(name, family)!, values.slice());
    },
    visit({ tap, dumped, shown }) {
      let sum = sums.get(tap.name);
      if (sum === undefined) {
        const blocks = tap.dtype === 'I32' || tap.scope !== 'token' ? undefined : hidden.get(tap.name);
        const sure = blocks === undefined ? null : new SureTokens(blocks, tap.block);
        sum = new LocalSums(tap, { right, spreads, systematic }, sure, sizes, skip);
        sums.set(tap.name, sum);
      }
      const choice = tap.scope === 'token' ? choices.get(tap.block) : undefined;
      sum.add(dumped, shown, leads, choice?.call === callOf(dumped) ? choice.experts : undefined);
      const by = probabilities.get(unseen.get(tap.name) ?? '');
      if (by !== undefined) sum.lostLead = Math.max(sum.lostLead ?? 0, lostLead(shown, dumped, by));
      if (dumped.dtype === 'I32' && tap.scope === 'token' && tap.shape.length === 0)
        choices.set(tap.block, { call: callOf(dumped), experts: (dumped.data as Int32Array).slice() });
    },
  });
  return new Map(
    dump.taps.filter(({ name }) => sums.has(name)).map(({ name }) => [name, sums.get(name)!.error()]),
  );
}

/** The rows of one sequence in one forward call. */
function callOf({ sequence, step, position }: TensorBatch): string {
  return `${sequence[0]} ${step[0]} ${position[0]}`;
}

class LocalSums {
  /** As {@link LocalError.lostLead}. */
  lostLead: number | null = null;
  readonly #tap: TapInfo;
  readonly #right: LocalOptions['right'];
  readonly #comparison: TapComparison;
  readonly #spreads: LocalOptions['spreads'];
  readonly #sure: SureTokens | null;
  readonly #rounding = new RoundingSums();
  readonly #fits = { BF16: true, F16: true };
  readonly #columns: ColumnErrors | null;
  readonly #once = { BF16: 0, F16: 0 };
  readonly #spread = new ErrorSpread();
  readonly #rows = new RowErrors();
  readonly #entries: EntryErrors;

  constructor(
    tap: TapInfo,
    { right, spreads, systematic }: Pick<LocalOptions, 'right' | 'spreads' | 'systematic'>,
    sure: SureTokens | null,
    sizes: ReadonlyMap<string, number>,
    skip: number | undefined,
  ) {
    this.#sure = sure;
    this.#entries = new EntryErrors(tap, sizes, skip);
    this.#tap = tap;
    this.#right = right;
    this.#spreads = spreads;
    this.#columns = systematic && sure === null && tap.scope === 'token' ? new ColumnErrors() : null;
    const computed: TapInfo = { ...tap, dtype: tap.dtype === 'I32' ? 'I32' : 'F32' };
    // What the right op makes NaN of the same inputs is not this op's fault: where it arises is told apart.
    this.#comparison = compareTap(
      right === 'dump' ? { reference: tap, tested: computed } : { reference: computed, tested: tap },
      true,
    );
  }

  add(
    dumped: TensorBatch,
    shown: TensorBatch,
    leads: ReadonlyMap<number, Float32Array>,
    choices: Int32Array | undefined,
  ): void {
    const [a, b] = this.#right === 'dump' ? [dumped, shown] : [shown, dumped];
    this.#comparison.add(a, b);
    // Rows that were right so far are left out: they are before those that are not.
    const isSpread = this.#isSpread();
    if (isSpread) {
      this.#rows.add(a, b);
      this.#entries.add(a, b, choices);
    }
    if (dumped.dtype === 'I32') return;
    const values = toFloat32(dumped.data, dumped.dtype);
    const computed = shown.data as Float32Array;
    const [x, y] = this.#right === 'dump' ? [values, computed] : [computed, values];
    this.#columns?.add(x, y, x.length / a.shape[0]!);
    this.#sure?.add(x, y, a, leads);
    this.#rounding.add(x);
    narrow(values, this.#fits);
    for (const dtype of ['BF16', 'F16'] as const)
      if (this.#fits[dtype]) this.#once[dtype] += countRoundedOnce(values, computed, dtype);
    if (isSpread) this.#spread.add(a, b);
  }

  /** True where the error so far is to be measured by token and column. */
  #isSpread(): boolean {
    if (this.#spreads === undefined) return false;
    const { metrics, kind } = this.#comparison.report() as FloatTapReport | IntegerTapReport;
    const error = kind === 'float' ? metrics.nmse : metrics.differing;
    return !(error <= 0) && this.#spreads({ tap: this.#tap.name, nmse: error });
  }

  error(): LocalError {
    const report = this.#comparison.report() as FloatTapReport | IntegerTapReport;
    const tap = this.#tap;
    if (report.kind === 'integer') {
      const { differing, elements } = report.metrics;
      const share = elements === 0 ? 0 : differing / elements;
      return {
        tap,
        nmse: share,
        rounding: { BF16: 0, F16: 0 },
        precision: null,
        elements,
        bitEqual: 1 - share,
        roundedOnce: 0,
        systematic: null,
        differing,
        lostLead: this.lostLead,
        nonFinite: { dumped: 0, computed: 0 },
        place: report.first[0] ?? null,
        differences: report.first,
        spread: null,
        rows: this.#rows,
        entries: this.#entries,
      };
    }
    const { nmse, bitEqual, elements, nan, inf } = report.metrics;
    const precision = this.#fits.BF16 ? 'BF16' : this.#fits.F16 ? 'F16' : 'F32';
    const count = (side: 'reference' | 'tested') => nan[side] + inf[side];
    const [dumped, computed] =
      this.#right === 'dump' ? [count('reference'), count('tested')] : [count('tested'), count('reference')];
    return {
      tap,
      nmse: this.#sure === null ? nmse : (this.#sure.nmse() ?? 0),
      rounding: this.#rounding.nmse(),
      precision,
      elements,
      bitEqual,
      roundedOnce: precision === 'F32' || elements === 0 ? 0 : this.#once[precision] / elements,
      systematic: this.#columns?.error() ?? null,
      differing: 0,
      lostLead: null,
      nonFinite: { dumped, computed },
      place: report.worst,
      differences: [],
      spread: this.#spread.spread(),
      rows: this.#rows,
      entries: this.#entries,
    };
  }
}
