/** NaN and infinities of what a verdict judges: counted, named, and never passed over in silence. */
import type { TensorMetrics } from './metrics.js';
import type { ElementPlace } from './report.js';

/** Elements that are not finite. */
export interface NonFiniteCounts {
  /** NaNs per side. */
  nan: { reference: number; tested: number };
  /** Infinities per side. */
  inf: { reference: number; tested: number };
  /**
   * Pairs of the same infinity at one place of a value that its producer or the map marks as masked: equal by
   * design.
   */
  masked: number;
  /**
   * Pairs that the caller allowed (`allowNonFinite`): the same infinity, or NaN, on both sides. They are in
   * no sum.
   */
  allowed: number;
  /** All other pairs of which a side is not finite. With one of them nothing passes. */
  counted: number;
}

/** {@link NonFiniteCounts} of one tap. */
export interface TapNonFinite extends NonFiniteCounts {
  /**
   * The first of the pairs counted; null where there is none, or its place is not known (statistics, hashes).
   */
  first: ElementPlace | null;
}

/** Nothing yet. */
export function noNonFinite(): TapNonFinite {
  const none = () => ({ reference: 0, tested: 0 });
  return { nan: none(), inf: none(), masked: 0, allowed: 0, counted: 0, first: null };
}

/** {@link NonFiniteCounts} of a whole report. */
export interface ReportNonFinite extends NonFiniteCounts {
  /** Taps (or tensors) with a pair that counts. */
  taps: number;
  /** The first of them in order, and where; null where nothing counts. */
  first: { tap: string; place: ElementPlace | null } | null;
}

/** How pairs that are not finite are judged. */
export interface NonFiniteRules {
  /** Infinities are part of the value by design. */
  masked: boolean;
  /** What is not finite on both sides in the same way is left out. */
  allowed: boolean;
}

/**
 * Splits what metrics counted; null where everything is finite. The metrics must have been taken with
 * `allowNaN` equal to `rules.allowed`.
 */
export function nonFiniteCounts(
  metrics: Pick<TensorMetrics, 'nan' | 'inf' | 'nonFinite' | 'sameInfinities' | 'nonFiniteMismatches'>,
  { masked, allowed }: NonFiniteRules,
): NonFiniteCounts | null {
  const { nan, inf, nonFinite, sameInfinities, nonFiniteMismatches } = metrics;
  if (nonFinite === 0) return null;
  const byDesign = masked ? sameInfinities : 0;
  const left = allowed ? nonFinite - nonFiniteMismatches - byDesign : 0;
  return { nan, inf, masked: byDesign, allowed: left, counted: nonFinite - byDesign - left };
}

/** Sums of several taps or tensors. */
export function sumNonFinite(
  parts: readonly { name: string; nonFinite: (NonFiniteCounts & { first?: ElementPlace | null }) | null }[],
): ReportNonFinite {
  const sum: ReportNonFinite = {
    nan: { reference: 0, tested: 0 },
    inf: { reference: 0, tested: 0 },
    masked: 0,
    allowed: 0,
    counted: 0,
    taps: 0,
    first: null,
  };
  for (const { name, nonFinite } of parts) {
    if (nonFinite === null) continue;
    for (const side of ['reference', 'tested'] as const) {
      sum.nan[side] += nonFinite.nan[side];
      sum.inf[side] += nonFinite.inf[side];
    }
    sum.masked += nonFinite.masked;
    sum.allowed += nonFinite.allowed;
    sum.counted += nonFinite.counted;
    if (nonFinite.counted === 0) continue;
    sum.taps++;
    sum.first ??= { tap: name, place: nonFinite.first ?? null };
  }
  return sum;
}
