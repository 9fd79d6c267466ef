/**
 * Which taps of two dumps belong together: those of the same name. Other programs' names and layouts are put
 * right before (`mapped-dump.ts`).
 */

import { blockElements } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import type { Manifest, TapInfo } from '../dump/format.js';
import { sequenceLengths } from '../dump/sequences.js';
import { badArgument } from '../errors.js';
import { parsePositions } from '../positions.js';
import { tapPattern } from '../tap-pattern.js';
import type { Unpaired } from './report.js';
import { dtypeMisfit } from './tap-comparison.js';

/** Two taps that are to be compared. */
export interface TapPair {
  reference: TapInfo;
  tested: TapInfo;
  /** Set where the tested side holds the first entries of the last axis only: how many. */
  columns?: number;
}

/** The outcome of pairing taps. */
export interface Pairing {
  /** In the reference's execution order. */
  pairs: TapPair[];
  unpaired: Unpaired[];
  /**
   * Taps of the tested dump that the reference neither has nor left out: there is nothing to judge them by.
   */
  onlyTested: string[];
  /** Taps that a side's own selection left out. */
  notCaptured: { reference: number; tested: number };
}

/** Pairs the taps that `pattern` selects. Throws `BAD_ARGUMENT` where it selects none of either side. */
export function pairTaps(reference: DumpView, tested: DumpView, pattern: string): Pairing {
  const matches = tapPattern(pattern);
  const pairing: Pairing = {
    pairs: [],
    unpaired: [],
    onlyTested: [],
    notCaptured: { reference: 0, tested: 0 },
  };
  const excludes = { reference: excludedTaps(reference.manifest), tested: excludedTaps(tested.manifest) };
  const others = new Map(tested.taps.filter((tap) => matches(tap.name)).map((tap) => [tap.name, tap]));
  for (const tap of reference.taps.filter(({ name }) => matches(name))) {
    const other = others.get(tap.name);
    others.delete(tap.name);
    if (other === undefined) {
      if (excludes.tested(tap.name)) pairing.notCaptured.tested++;
      else pairing.unpaired.push(unpairedTap(tap, 'tested', 'is missing'));
      continue;
    }
    const columns = tested.prefixes.has(tap.name) ? commonColumns(tap, other) : undefined;
    const misfit =
      tested.misfits?.get(tap.name) ??
      describeMisfit(columns === undefined ? tap : { ...tap, shape: other.shape }, other);
    if (misfit === null) pairing.pairs.push({ reference: tap, tested: other, columns });
    else pairing.unpaired.push(unpairedTap(tap, 'both', misfit));
  }
  for (const { name } of others.values())
    if (excludes.reference(name)) pairing.notCaptured.reference++;
    else pairing.onlyTested.push(name);
  const { pairs, unpaired, onlyTested, notCaptured } = pairing;
  if (pairs.length + unpaired.length + onlyTested.length + notCaptured.reference + notCaptured.tested === 0)
    throw badArgument('diffDumps', 'a pattern that matches a tap of either dump', `'${pattern}'`);
  return pairing;
}

function unpairedTap(tap: TapInfo, side: Unpaired['side'], reason: string): Unpaired {
  return { tap: tap.name, file: tap.file, side, reason, rows: 0, example: null };
}

/** How many entries of the last axis the tested side has, if that is all in which the shapes differ. */
function commonColumns(reference: TapInfo, tested: TapInfo): number | undefined {
  const [a, b] = [reference.shape.at(-1), tested.shape.at(-1)];
  const sameElse =
    reference.shape.length === tested.shape.length &&
    reference.shape.every((size, axis) => axis === reference.shape.length - 1 || size === tested.shape[axis]);
  const whole = typeof b === 'number' && b % blockElements(reference.dtype) === 0;
  return typeof a === 'number' && whole && b < a && sameElse ? b : undefined;
}

/** Why two taps of one name cannot be compared, or null. Sizes that vary by step are compared row by row. */
function describeMisfit(a: TapInfo, b: TapInfo): string | null {
  const dtypes = dtypeMisfit(a.dtype, b.dtype);
  if (dtypes !== null) return dtypes;
  if (a.scope !== b.scope) return `has one value per ${a.scope} and per ${b.scope}`;
  const sameShape =
    a.shape.length === b.shape.length &&
    a.shape.every((size, axis) => size === null || b.shape[axis] === null || size === b.shape[axis]);
  return sameShape ? null : `has rows of shape [${a.shape}] and [${b.shape}]`;
}

/**
 * Tells whether a dump's own selection says that a tap was not asked for. One that cannot be understood
 * excludes nothing.
 */
function excludedTaps({ selection }: Manifest): (name: string) => boolean {
  try {
    const matches = tapPattern(selection.taps);
    return (name) => !matches(name);
  } catch {
    return () => false;
  }
}

/**
 * Tells whether a dump's own selection says that a position was not asked for. One that cannot be understood
 * excludes nothing.
 */
export function positionFilter({
  selection,
  sequences,
}: Manifest): (sequence: number, position: number) => boolean {
  const lengths = sequenceLengths(sequences);
  const ranges = lengths.map((length) => {
    try {
      return parsePositions(selection.positions, length);
    } catch {
      return undefined;
    }
  });
  return (sequence, position) => {
    const range = ranges[sequence];
    return range !== undefined && position < lengths[sequence]!
      ? position < range.start || position >= range.end
      : false;
  };
}
