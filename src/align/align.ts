/** `align`: a name map of two dumps whose names have nothing in common, with what speaks for each pair. */
import type { Transform } from '../dump/import/layout.js';
import type { NameMap } from '../dump/names/name-map.js';
import { Dump } from '../dump/reader.js';
import { type Alignment, type AlignOptions, alignDumps } from './align-dumps.js';
import { nameMapOf, rounded } from './name-map-of.js';
import type { NonFiniteValue } from './non-finite.js';

/** Two values that belong together. */
export interface AlignPair {
  /** The reference's tap. */
  tap: string;
  /** The other program's name. */
  from: string;
  /** What brings the value into the tap's axes; empty where it lies so. */
  layout: readonly Transform[];
  /** The value holds the first entries of the tap's last axis only. */
  prefix: boolean;
  /**
   * `elements`: they agree and those of no other value nearly do. `tokens`: those of some tokens agree, and
   * of no other value any do. `neighbours`: they differ, and stand at the same place of both graphs. `role`:
   * they are the logits, as both dumps say, and differ.
   */
  by: 'elements' | 'tokens' | 'neighbours' | 'role';
  /** Sum of squared differences over the reference's sum of squares about its mean, of the first call. */
  error: number;
  /** The same of the nearest other value of either side; undefined where none has the shape. */
  nextError: number | undefined;
}

/** A value of the reference without partner. */
export interface AlignOpen {
  /** Its taps: the same value may have several names. */
  taps: string[];
  /** The nearest values of the tested side that are of its size, at most three. */
  candidates: { from: string; error: number }[];
  /** Why the first candidate is no partner, where more is to be said than its error. */
  reason?: string;
}

/** A call, or a sequence, besides the first: the same pairs, compared. */
export interface AlignCall {
  step: number;
  sequence: number;
  tokens: number;
  /** Pairs that both have there, and the largest error among them. */
  compared: number;
  error: number;
  /** Pairs that differ by more than rounding explains, in the order of the tested side. */
  differing: { tap: string; from: string; error: number; limit: number }[];
}

/** The outcome of {@link align}. */
export interface AlignResult {
  /** For `diff --map` and `readNameMap`; version 2, with evidence. */
  map: NameMap;
  /** In the reference's order. */
  pairs: AlignPair[];
  open: AlignOpen[];
  /**
   * Taps of `open` after which nothing has a partner that agrees: what follows does not say that they are
   * right. Empty where a side does not say what went into what.
   */
  lost: string[];
  /** Values with NaN or infinities outside masks, in all calls, with a partner or without. */
  nonFinite: { reference: NonFiniteValue[]; tested: NonFiniteValue[] };
  /** Values that no content tells from others (constants, masks, few elements): not looked at. */
  silent: { reference: { name: string; reason: string }[]; tested: { name: string; reason: string }[] };
  /** Further calls and sequences of the same tokens. */
  calls: AlignCall[];
  /** Calls that only one side has, or of other tokens: not compared. */
  otherCalls: number;
  /** Values of both sides and tokens of the call that was compared. */
  counts: { reference: number; tested: number; tokens: number };
  /** False where a side does not say what went into what: then elements alone decide. */
  hasEdges: { reference: boolean; tested: boolean };
}

/**
 * Pairs the values of a reference with those of another program's run of the same tokens, by their elements
 * and by what went into what (`docs/align.md`). Only what is beyond doubt is paired. Reads the first call of
 * the first sequence of both, whole, into memory; pairs are then compared in all other calls and sequences.
 *
 * @param reference, tested dumps of tier full, or their folders.
 * @throws `UNPAIRED` where the first calls are not of the same tokens; `BAD_ARGUMENT`, `BAD_DUMP`, `IO`.
 */
export async function align(
  reference: Dump | string,
  tested: Dump | string,
  options: AlignOptions = {},
): Promise<AlignResult> {
  const opened: Dump[] = [];
  const open = async (side: Dump | string): Promise<Dump> => {
    if (typeof side !== 'string') return side;
    const dump = await Dump.open(side);
    opened.push(dump);
    return dump;
  };
  try {
    const sides = [await open(reference), await open(tested)] as const;
    return resultOf(await alignDumps(...sides, options), ...sides);
  } finally {
    for (const dump of opened) await dump.close();
  }
}

/** An alignment as callers get it. */
export function resultOf(alignment: Alignment, reference: Dump, tested: Dump): AlignResult {
  const { silent, sizes, lost, nonFinite, outcome } = alignment;
  const pairs = [...alignment.pairs, ...outcome];
  const open = openValues(alignment);
  const evidence = {
    tokens: sizes.tokens,
    paired: pairs.length,
    open: open.map(({ taps, candidates }) => ({
      taps,
      candidates: candidates.map(({ from, error }) => ({ from, error: rounded(error) })),
    })),
  };
  const names = (dump: Dump) => dump.taps.map(({ name }) => name);
  return {
    map: nameMapOf(alignment, names(reference), names(tested), evidence),
    pairs: pairs.map(({ reference: own, tested: other, fit, pair }) => ({
      tap: own.tap.name,
      from: other.tap.name,
      layout: fit.layout,
      prefix: fit.isPrefix,
      by: pair.by,
      error: fit.error,
      nextError: pair.next?.error,
    })),
    open,
    lost,
    nonFinite,
    calls: alignment.calls.map(({ step, sequence, tokens, compared, error, differing }) => ({
      step,
      sequence,
      tokens,
      compared,
      error,
      differing: differing.map(({ pair, ...rest }) => ({
        tap: pair.reference.tap.name,
        from: pair.tested.tap.name,
        ...rest,
      })),
    })),
    otherCalls: alignment.otherCalls,
    silent,
    counts: { reference: reference.taps.length, tested: tested.taps.length, tokens: sizes.tokens },
    hasEdges: { reference: alignment.reference.hasEdges, tested: alignment.tested.hasEdges },
  };
}

function openValues({ open, moved, outcome, reference, tested }: Alignment): AlignOpen[] {
  const named = new Set(outcome.map(({ pair }) => pair.reference));
  const elsewhere = moved.map(({ pair, call }) => ({
    taps: [pair.reference.tap.name],
    candidates: [{ from: pair.tested.tap.name, error: pair.fit.error }],
    reason: `lies otherwise in step ${call.step}, sequence ${call.sequence}`,
  }));
  const left = [...open].filter(([id]) => !named.has(id));
  const none = left.map(([id, candidates]) => ({
    taps: reference.classes[id]!.members.map(({ tap }) => tap.name),
    candidates: candidates.map((candidate) => ({
      from: tested.classes[candidate.tested]!.members[0]!.tap.name,
      error: candidate.fit.error,
    })),
  }));
  return [...none, ...elsewhere];
}
