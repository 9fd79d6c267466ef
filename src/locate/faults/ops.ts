import { type FloatTapReport, type IntegerTapReport, tapNonFinite } from '../../diff/report.js';
import type { Family } from '../../families/family.js';
import { hasRole } from '../../families/roles.js';
import { tapSpan } from '../replay/tap-graph.js';
import { type AloneRules, aloneLimit, verdictAlone } from './alone.js';
import { errorOf, type OpEvidence } from './evidence.js';
import type { LocatedOp, NonFiniteOrigin, OpVerdict } from './report.js';
import { type ShareTap, tapShares } from './share.js';
import { judge } from './verdict.js';

/**
 * A right op may make 9 times the energy NMSE that was measured as its noise: a ratio of 3 of the errors
 * themselves.
 */
export const LIMIT_FACTOR = 9;
/**
 * Where a floor was measured, an op may still make this much: two or three units in the last place of F32,
 * for one that was exact in the floor.
 */
export const LEAST_LIMIT = 1e-13;
/**
 * Limit of an op whose floor was not measured: an order above what F32 arithmetic in any order makes of
 * products of a few thousand terms.
 */
export const UNMEASURED_LIMIT = 1e-11;

/** Options of {@link locateOps}. */
export interface LocateOpsOptions {
  /** Smallest limit of an op's own error, energy NMSE; default {@link LEAST_LIMIT}. */
  failAbove?: number | undefined;
  /** Choices of experts that differ only by a tie: see `routing/tied-choices.ts`. */
  ties: ReadonlySet<string>;
  /**
   * Two dumps without a model: an op fails where its cumulative error is above {@link aloneLimit} while those
   * of its inputs are not. Choices that contradict the tested run's own probabilities fail too.
   */
  alone?: AloneRules | undefined;
  /** Decoder blocks of the model, of which values may be held of few or of none. */
  blocks: number;
  /** What the values are of: a `model_type`, and its family. */
  type: string | undefined;
  family: Family;
  /**
   * Ops that fail though their own error is within its limit, with what would be usual (energy NMSE): see
   * `dtypes/pooled.ts` and `dtypes/systematic.ts`.
   */
  small?: ReadonlyMap<string, number>;
  /**
   * True for runs of several forward calls, where values of the calls before are inputs too. Default false.
   */
  continued?: boolean;
}

/** What {@link locateOps} gives. */
export interface LocatedOps {
  ops: LocatedOp[];
  nonFinite: NonFiniteOrigin | null;
  /** Estimated share of the final error by kind of op. */
  shares: Map<string, number>;
  /** Last value held, whose error `shares` splits: the logits where they are. */
  final: string;
}

/** Judges each op of a run. `evidence` by tap, in execution order. */
export function locateOps(evidence: ReadonlyMap<string, OpEvidence>, options: LocateOpsOptions): LocatedOps {
  const names = [...evidence.keys()];
  // Values that not all dumps hold are no ends of a span where ops were recomputed.
  const recomputed = names.filter((name) => evidence.get(name)!.local !== undefined);
  const held = new Set(recomputed.length === 0 ? names : recomputed);
  const { blocks } = options;
  const ops: LocatedOp[] = [];
  const shareTaps: ShareTap[] = [];
  let nonFinite: NonFiniteOrigin | null = null;
  for (const [tap, own] of evidence) {
    const inputs = tapSpan(tap, blocks, held, options.continued, options.type);
    const from = inputs.inputs.map((name) => evidence.get(name)!);
    const cumulative = errorOf(own.cumulative);
    const local = own.local?.nmse ?? null;
    const finiteInputs = from.every((input) => tapNonFinite(input.cumulative) === 0);
    const count = tapNonFinite(own.cumulative);
    if (nonFinite === null && count > 0 && finiteInputs)
      nonFinite = { tap, block: own.cumulative.block, count, place: own.cumulative.nonFinite!.first };
    // A floor with NaN in it allows nothing, rather than everything.
    const floors = own.floors.filter(Number.isFinite);
    const floor = floors.length === 0 ? null : Math.max(...floors);
    const least = options.failAbove ?? (floor === null ? UNMEASURED_LIMIT : LEAST_LIMIT);
    const ownLimit = local === null ? null : Math.max(least, LIMIT_FACTOR * (floor ?? 0));
    const usual = local !== null && local <= ownLimit! ? options.small?.get(tap) : undefined;
    // However systematic: what is below the least limit is no fault. One element may be a rounding off.
    const judged = usual === undefined ? ownLimit : Math.max(usual, least);
    const limit = options.alone ? aloneLimit(own, options.alone) : judged;
    const worstInput = Math.max(0, ...from.map((input) => errorOf(input.cumulative)));
    ops.push({
      tap,
      block: own.cumulative.block,
      local,
      floor,
      limit,
      cumulative,
      inherited: local === null ? null : Math.max(0, cumulative - local) || 0,
      amplification:
        worstInput === 0 || own.cumulative.kind === 'integer'
          ? null
          : Math.sqrt(cumulative / worstInput) || 0,
      verdict: options.alone
        ? verdictAlone(own, from, options.alone)
        : verdictOf(own, {
            local,
            limit,
            finiteInputs: finiteInputs && !from.some(hasAllowed),
            hasAllowed: hasAllowed(own),
            isTie: options.ties.has(tap),
            isDerived: hasRole(options.family, 'router.margin', tap),
          }),
      drift: own.noise?.verdict ?? (count > 0 ? 'broken' : judge({ nmse: cumulative })),
      inputs: inputs.inputs,
      inside: inputs.inside,
    });
    shareTaps.push({ name: tap, cumulative, energy: energyOf(own.cumulative), local: local ?? 0, inputs });
  }
  const logits = names.find((name) => hasRole(options.family, 'logits', name));
  const final = logits ?? lastFloat(evidence);
  return { ops, nonFinite, shares: tapShares(shareTaps, final), final };
}

function verdictOf(
  { local: error }: OpEvidence,
  known: {
    local: number | null;
    limit: number | null;
    finiteInputs: boolean;
    /** The value itself holds what is not finite, and the caller allowed it. */
    hasAllowed: boolean;
    isTie: boolean;
    isDerived: boolean;
  },
): OpVerdict {
  const { local, limit, finiteInputs, hasAllowed, isTie, isDerived } = known;
  if (local === null || limit === null) return 'not judged';
  if (local === 0) return 'exact';
  // Derived from a value that is judged itself, and read by nothing.
  if (isDerived) return 'not judged';
  if (isTie) return 'within noise';
  if (hasAllowed && !Number.isFinite(local)) return 'not judged';
  if (error!.tap.dtype === 'I32') return finiteInputs ? 'fault' : 'not judged';
  if (local <= limit) return 'within noise';
  return finiteInputs ? 'fault' : 'not judged';
}

function hasAllowed({ cumulative }: OpEvidence): boolean {
  return (cumulative.nonFinite?.allowed ?? 0) > 0;
}

function energyOf(report: FloatTapReport | IntegerTapReport): number {
  return report.kind === 'float' ? report.metrics.mse * report.metrics.elements : 0;
}

function lastFloat(evidence: ReadonlyMap<string, OpEvidence>): string {
  const names = [...evidence].filter(([, { cumulative }]) => cumulative.kind === 'float');
  return names.at(-1)?.[0] ?? '';
}
