/** What `locate` finds, as plain data. Numbers may be infinite or NaN. */
import type { ElementPlace } from '../../diff/report.js';
import type { UnpairedNonFinite } from '../../diff/unpaired-non-finite.js';
import type { TapOrder } from '../../dump/format.js';
import type { LocatedCause } from '../causes/explain.js';
import type { FloorJudgement } from '../noise/floor/judge.js';
import type { TapNoise } from '../noise/noise-floor.js';
import type { RoutingDrift } from '../routing/drift.js';
import type { Mismatch } from './mismatch.js';
import type { Spread } from './spread.js';
import type { Verdict } from './verdict.js';
import type { WrongEntries } from './where/entries.js';
import type { FirstWrong } from './where/row-errors.js';

/** How an op fares by itself: on the inputs that it got. */
export type OpVerdict =
  /** Its own error is 0. */
  | 'exact'
  /** Its own error is within its limit. */
  | 'within noise'
  /** Its own error is above its limit. */
  | 'fault'
  /** Nothing could be said: no model, or inputs that are not finite. */
  | 'not judged';

/** One op, named by the tap that it makes. */
export interface LocatedOp {
  tap: string;
  block: number | null;
  /** Energy NMSE of the op's own error: computed from the same inputs by the right op. null: not computed. */
  local: number | null;
  /** Energy NMSE that a right op has there, as measured (see `docs/locate.md`); null: not measured. */
  floor: number | null;
  /** `local` above this is a fault; null where nothing is judged. */
  limit: number | null;
  /**
   * Energy NMSE of the value in the whole run, against the reference; integers: share of entries that differ.
   */
  cumulative: number;
  /** What is left of `cumulative` without `local`; null where that is unknown. */
  inherited: number | null;
  /**
   * Relative L2 error of the value over that of its worst input; null where the inputs have none, and for
   * integers.
   */
  amplification: number | null;
  verdict: OpVerdict;
  /** Of `cumulative`, against the noise floor or the plain thresholds. */
  drift: Verdict;
  /** Values that the op reads. */
  inputs: readonly string[];
  /**
   * Values that are computed from them on the way, in execution order; the last is `tap`. One alone where the
   * dumps hold all values before it.
   */
  inside: readonly string[];
}

/**
 * Ops of one kind (the same value of several blocks) that are at fault, or in a dump without model:
 * suspected.
 */
export interface LocatedKind {
  /** Tap without its block, e.g. `.self_attn.o_proj`. */
  kind: string;
  /** The op in words, or all that lies in its span. */
  name: string;
  /** Kinds of op inside the span, in execution order; the last is `kind`. */
  inside: readonly string[];
  /** Blocks with a fault; empty for embedding and head. */
  blocks: number[];
  /** The op with the largest error of its own (without a model: in the whole run). */
  worst: string;
  /** Its error, and the median over those blocks (energy NMSE). */
  largest: number;
  median: number;
  /** Limit at `worst`. */
  limit: number;
  /** Estimated share of the final error; null without a model. See `tapShares`. */
  share: number | null;
  /** Where the largest error of `worst` stands; `reference` is the right value. */
  place: ElementPlace | null;
  spread: Spread | null;
  /** Where its error begins in calls and positions; null where that was not measured. */
  begins: FirstWrong | null;
  /**
   * The heads, channels, keys or experts' tokens in which alone the error of `worst` lies; empty where it is
   * spread.
   */
  within: WrongEntries[];
  /**
   * Structure that explains it, by its place in `causes`; null where none was found, or blocks differ in what
   * explains them.
   */
  cause: number | null;
  /** Where blocks differ in what explains them: each part, the first block's in front. Else empty. */
  parts: KindPart[];
  /** One sentence in plain words. */
  sentence: string;
  /** Command line of the next step. */
  next: string;
}

/** What explains a kind of op in some of its blocks. */
export interface KindPart {
  blocks: number[];
  /** By its place in `causes`; null: a choice, or nothing that was tried. */
  cause: number | null;
  sentence: string;
}

/** A choice of the tested policy by itself: all other sites are as in policy f32. */
export interface LocatedChoice {
  /** Pattern of the sites, e.g. `layers.{0..7}.self_attn:k_cache#dtype`, and their value. */
  sites: string;
  set: string;
  blocks: number[];
  /**
   * Tap (without block) at which its error first shows, and the largest and median own error there, beside
   * what policy f32 has; null where it changes nothing.
   */
  shows: { kind: string; largest: number; median: number; floor: number } | null;
  /** Energy NMSE of the last value (the logits, where held) of a run with this choice alone. */
  finalAlone: number;
  sentence: string;
}

/** The value where NaN or infinity arises. */
export interface NonFiniteOrigin {
  tap: string;
  block: number | null;
  /**
   * Pairs of which a side is NaN or infinite, bit-identical NaNs too; its inputs have none. Without those
   * that are masked or allowed.
   */
  count: number;
  /** The first of them. */
  place: ElementPlace | null;
}

/** The outcome of `locate`. */
export interface LocateReport {
  format: 'zayascope-locate';
  version: 1;
  /**
   * `policy`: a run of the model under a policy; `dumps`: a tested dump whose ops were recomputed;
   * `dumps-alone`: two dumps without a model.
   */
  mode: 'policy' | 'dumps' | 'dumps-alone';
  reference: string;
  /** Name of the tested dump or policy. */
  tested: string;
  noise: string | null;
  /** Name of the policy under which the tested dump's ops were recomputed; null: none were, or under f32. */
  recomputed: string | null;
  /**
   * False: no fault was found, nothing is NaN or infinite, tokens and weights are the same, all could be
   * judged, and no value has another shape in the two dumps.
   */
  found: boolean;
  /** The runs are of other prompts or other weights: nothing else was judged. null: they are not. */
  mismatch: Mismatch | null;
  /**
   * Set where the tested dump was not computed with the GGUF file given, but with another type of the same
   * weights, under which it was judged: a sentence that names it.
   */
  otherFile: string | null;
  /**
   * Two dumps without a model: set where the tested program's weights appear to be stored in another type
   * than the reference's, so that its products cannot be judged: a sentence that says how that shows, and
   * what to pass; or where values have no partner
   * that fits (`unfit`). `found` is true then.
   */
  unjudged: string | null;
  /**
   * What is known of the order of the reference's values: unless it is `execution` or `declared`, what comes
   * first is by name only.
   */
  order: TapOrder;
  /** The first op in that order that fails while its inputs pass. */
  firstFault: string | null;
  nonFinite: NonFiniteOrigin | null;
  /**
   * What is not finite in values that only the tested dump holds: with one nothing passes. null with a
   * policy, and for runs that were not judged.
   */
  unpairedNonFinite: UnpairedNonFinite | null;
  /** Values that both dumps hold in shapes or dtypes that do not fit each other: with one nothing passes. */
  unfit: string[];
  /**
   * The last value held (the logits, where held): its energy NMSE, and where it was measured that of policy
   * f32 and the noise floor.
   */
  final: { tap: string; nmse: number; floorNmse: number | null; noise: TapNoise | null };
  /** At fault, most important first. */
  kinds: LocatedKind[];
  /** Structures that explain kinds of op, found by recomputing; see docs/locate.md. */
  causes: LocatedCause[];
  choices: LocatedChoice[];
  /**
   * Command line that finds out which choices of the policy explain the final error together; null without a
   * policy or an error.
   */
  bisect: string | null;
  /** All ops in execution order. */
  ops: LocatedOp[];
  noiseByTap: TapNoise[] | null;
  /** What a noise floor says; null for noise of a single run, and with a policy. */
  floor: FloorJudgement | null;
  routing: RoutingDrift | null;
  /** What a reader must know, and what could not be said. */
  notes: string[];
}
