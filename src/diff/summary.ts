import { isExact } from '../dump/dtypes.js';
import {
  type BlockReport,
  type FirstDivergence,
  type TapReport,
  tapBothZero,
  tapDiffering,
  tapDiffers,
  tapError,
  tapNonFinite,
} from './report.js';

/**
 * True if a tap is worse than the threshold allows: NaN counts as worse, and so does anything else that is
 * not finite and not allowed.
 */
export function exceeds(tap: TapReport, failAbove: number): boolean {
  if (tapNonFinite(tap) > 0) return true;
  const error = tapError(tap);
  return error === null ? tapDiffering(tap) > 0 : !(error <= failAbove);
}

/** Those of which a row was compared: of others nothing is said. */
export function comparedTaps(taps: readonly TapReport[]): TapReport[] {
  return taps.filter(({ rows }) => rows > 0);
}

/**
 * The first tap in execution order that exceeds the threshold, or without one the first that is not
 * identical; null if there is none.
 */
export function firstDivergence(
  taps: readonly TapReport[],
  failAbove: number | undefined,
): FirstDivergence | null {
  const tap = comparedTaps(taps).find((candidate) =>
    failAbove === undefined ? tapDiffers(candidate) : exceeds(candidate, failAbove),
  );
  if (tap === undefined) return null;
  const criterion = failAbove === undefined ? 'bits' : 'threshold';
  return { tap: tap.name, block: tap.block, criterion, nmse: tapError(tap) };
}

/**
 * One entry per block, and for the taps before and after the blocks. `taps` in execution order; without a
 * known order there is one entry for all taps of no block, the last one, and no tap is the last of its block.
 */
export function summariseBlocks(taps: readonly TapReport[], isOrdered = true): BlockReport[] {
  const groups: TapReport[][] = [];
  const place = ({ block }: TapReport): number => block ?? Number.POSITIVE_INFINITY;
  for (const tap of isOrdered ? taps : [...taps].sort((a, b) => place(a) - place(b) || 0)) {
    const group = groups.at(-1);
    if (group !== undefined && group[0]!.block === tap.block) group.push(tap);
    else groups.push([tap]);
  }
  const firstBlock = groups.findIndex(([tap]) => tap!.block !== null);
  return groups.map((group, at) => {
    const { block } = group[0]!;
    const floating = group.flatMap((tap) => {
      const nmse = tapError(tap);
      return nmse === null ? [] : [{ tap: tap.name, nmse }];
    });
    const [head] = floating;
    const label =
      block !== null
        ? String(block)
        : !isOrdered
          ? 'no block'
          : firstBlock === -1 || at < firstBlock
            ? 'input'
            : 'output';
    return {
      label,
      block,
      taps: group.length,
      identicalTaps: group.filter((tap) => tap.identical).length,
      equalStatistics: group.filter((tap) => tap.kind === 'statistics' && tap.equal).length,
      worst:
        head === undefined
          ? null
          : floating.reduce((worst, tap) => (tap.nmse > worst.nmse ? tap : worst), head),
      last: (isOrdered ? floating.at(-1) : undefined) ?? null,
      differing: group.reduce((sum, tap) => sum + tapDiffering(tap), 0),
    };
  });
}

/**
 * The sentence about taps of floats that are 0 throughout on both sides, since programs that computed nothing
 * agree, too; null where they are none, or fewer than half.
 */
export function bothZeroWords(tapReports: readonly TapReport[]): string | null {
  const floats = tapReports.filter((tap) => tapError(tap) !== null && !isExact(tap.dtypes.reference));
  const zero = floats.filter(tapBothZero);
  // A few zeros are a model's own, such as of a bias that was never trained.
  if (zero.length === 0 || 2 * zero.length < floats.length) return null;
  if (zero.length === floats.length)
    return `ALL ZERO: every value of all ${floats.length} taps of floats is 0 on both sides: that they agree says nothing`;
  const are = zero.length === 1 ? 'is' : 'are';
  return `${zero.length} of ${floats.length} taps of floats ${are} 0 throughout on both sides, first ${zero[0]!.name}: that they agree says little`;
}
