import type { ElementPlace, FloatTapReport, IntegerTapReport } from '../../diff/report.js';
import { compareTap, type TapComparison } from '../../diff/tap-comparison.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import type { TapDtype, TapInfo } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { type ReplayOptions, type Runner, replay } from '../replay/replay.js';
import { ErrorSpread, type Spread } from './spread.js';

/** The error that one op makes by itself: on the dump's inputs, against the dump's output. */
export interface LocalError {
  tap: TapInfo;
  /** Energy NMSE; Infinity where NaN or infinity is on one side only. Integers: share of entries that differ. */
  nmse: number;
  /** What rounding values of the right ones' sizes to a dtype makes of them, as energy NMSE: no op that rounds its output is nearer, on average. 0 for F32. See {@link LocalOptions.rounding}. */
  roundingNmse: number;
  /** Share of elements with the same bits. */
  bitEqual: number;
  /** Entries that differ; 0 for floats. */
  differing: number;
  /** NaNs and infinities of each side. */
  nonFinite: { dumped: number; computed: number };
  /** Where the largest error stands, with the right value as `reference`; null without error. */
  place: ElementPlace | null;
  /** The first entries of integers that differ. */
  differences: ElementPlace[];
  /** How the error lies over tokens and columns; null unless asked for, for integers, and without error. */
  spread: Spread | null;
}

/** Options of {@link localErrors}. */
export interface LocalOptions extends Pick<ReplayOptions, 'onProgress' | 'signal'> {
  /** Which side is right: errors are relative to it. */
  right: 'dump' | 'computed';
  /** Dtype of {@link LocalError.roundingNmse}; default: the dump's own of each value. */
  rounding?: (tap: TapInfo) => TapDtype;
  /** True for values whose error is to be measured by token and column; default none. */
  spreads?: (error: { tap: string; nmse: number }) => boolean;
}

/** Errors of all ops of an isolated replay, by tap, in execution order. Throws as {@link replay}. */
export async function localErrors(
  runner: Runner,
  dump: DumpView,
  options: LocalOptions,
): Promise<Map<string, LocalError>> {
  const { right, rounding = ({ dtype }) => dtype, spreads = () => false, ...rest } = options;
  const sums = new Map<string, LocalSums>();
  await replay(runner, {
    dump,
    ...rest,
    visit({ tap, dumped, shown }) {
      let sum = sums.get(tap.name);
      if (sum === undefined) {
        sum = new LocalSums(tap, right, rounding(tap), spreads);
        sums.set(tap.name, sum);
      }
      sum.add(dumped, shown);
    },
  });
  return new Map(
    dump.taps.filter(({ name }) => sums.has(name)).map(({ name }) => [name, sums.get(name)!.error()]),
  );
}

class LocalSums {
  readonly #tap: TapInfo;
  readonly #right: LocalOptions['right'];
  readonly #comparison: TapComparison;
  readonly #spreads: NonNullable<LocalOptions['spreads']>;
  readonly #dtype: TapDtype;
  readonly #rounding = { error: 0, size: 0 };
  readonly #spread = new ErrorSpread();

  constructor(
    tap: TapInfo,
    right: LocalOptions['right'],
    dtype: TapDtype,
    spreads: NonNullable<LocalOptions['spreads']>,
  ) {
    this.#dtype = dtype;
    this.#tap = tap;
    this.#right = right;
    this.#spreads = spreads;
    const computed: TapInfo = { ...tap, dtype: tap.dtype === 'I32' ? 'I32' : 'F32' };
    // What the right op makes NaN of the same inputs is not this op's fault: where it arises is told apart.
    this.#comparison = compareTap(
      right === 'dump' ? { reference: tap, tested: computed } : { reference: computed, tested: tap },
      true,
    );
  }

  add(dumped: TensorBatch, shown: TensorBatch): void {
    const [a, b] = this.#right === 'dump' ? [dumped, shown] : [shown, dumped];
    this.#comparison.add(a, b);
    if (dumped.dtype === 'I32') return;
    if (this.#dtype === 'BF16' || this.#dtype === 'F16')
      addRounding(toFloat32(a.data, a.dtype), this.#dtype, this.#rounding);
    const { metrics } = this.#comparison.report() as FloatTapReport;
    if (metrics.nmse > 0 && this.#spreads({ tap: this.#tap.name, nmse: metrics.nmse }))
      this.#spread.add(a, b);
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
        roundingNmse: 0,
        bitEqual: 1 - share,
        differing,
        nonFinite: { dumped: 0, computed: 0 },
        place: report.first[0] ?? null,
        differences: report.first,
        spread: null,
      };
    }
    const { nmse, bitEqual, nan, inf } = report.metrics;
    const count = (side: 'reference' | 'tested') => nan[side] + inf[side];
    const [dumped, computed] =
      this.#right === 'dump' ? [count('reference'), count('tested')] : [count('tested'), count('reference')];
    const { error, size } = this.#rounding;
    return {
      tap,
      nmse,
      roundingNmse: size === 0 ? 0 : error / size,
      bitEqual,
      differing: 0,
      nonFinite: { dumped, computed },
      place: report.worst,
      differences: [],
      spread: this.#spread.spread(),
    };
  }
}

/** Mantissa bits and smallest normal exponent. */
const HALF = { BF16: { bits: 7, least: -126 }, F16: { bits: 10, least: -14 } } as const;

/** Adds the energy that rounding to nearest takes from values of these sizes on average (a twelfth of a unit squared), and their own. Values that are not finite are left out. */
function addRounding(
  values: Float32Array,
  dtype: 'BF16' | 'F16',
  sums: { error: number; size: number },
): void {
  const { bits, least } = HALF[dtype];
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < values.length; k++) {
    const exponent = ((words[k]! >>> 23) & 255) - 127;
    if (exponent === 128) continue;
    const unit = 2 ** (Math.max(exponent, least) - bits);
    sums.error += (unit * unit) / 12;
    sums.size += values[k]! ** 2;
  }
}
