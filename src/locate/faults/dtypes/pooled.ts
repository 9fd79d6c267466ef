/**
 * Faults too small for one op. Recomputed in its own dtypes a right op gives the dump's bits, but for a few
 * sums that fall on the other side of a tie: what a small systematic fault changes of one op is no more than
 * those may. Over all blocks it is: the elements that differ are counted by kind of op.
 */
import type { Setting } from '../../../graph/policy.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { modelSites } from '../../../models/runtime/sites.js';
import { tapPlace, tapSpan } from '../../replay/tap-graph.js';
import type { LocalError } from '../local.js';
import type { HalfDtype } from './rounding.js';

/**
 * Share of the elements of a kind of op that a right program may have with other bits. A sum in another order
 * is off by some units of F32, whatever it is rounded to; F16 has three more bits than BF16, so 8 times as
 * many sums lie within that of a tie.
 */
export const USUAL: Readonly<Record<HalfDtype, number>> = { BF16: 1e-3, F16: 8e-3 };
/** Where a run of the same policy has more, this many times its share is allowed. */
const FACTOR = 4;
/** So many elements may always differ. */
const LEAST = 8;
/**
 * An op that differs in no more than is usual, and in less than this part of what its kind does, is right:
 * another block's is at fault.
 */
const LITTLE = 0.25;
/**
 * The same of a GELU: torch approximates erf, which shows in up to 1 of 100 elements in BF16 and 2 in F16.
 */
const USUAL_GELU = 0.04;

/** What {@link pooledFaults} works on. */
export interface PooledInput {
  /** Own errors in the program's own dtypes. */
  local: ReadonlyMap<string, LocalError>;
  /** The same of a run that counts as right, under the same policy; null: none. */
  measured: ReadonlyMap<string, LocalError> | null;
  setting: Setting;
  /** Values that are not judged: see {@link spannedRoundings}. */
  leftOut: ReadonlySet<string>;
  /** Values that a GELU makes: see {@link geluTaps}. */
  gelus: ReadonlySet<string>;
  /** Kinds of which a larger share of elements differs are not judged either. Default: all are. */
  most?: number;
}

/** Elements that differ of a kind of op, among those that the policy rounds to one dtype. */
interface Count {
  dtype: HalfDtype;
  differing: number;
  elements: number;
  taps: string[];
}

/**
 * Ops of the kinds that differ in more elements than rounding explains, with the own error (energy NMSE) that
 * would be usual there. Judged are values that the policy rounds.
 */
export function pooledFaults({ most = 1, measured, ...input }: PooledInput): Map<string, number> {
  const found = new Map<string, number>();
  const usual = measured === null ? null : counts({ ...input, local: measured });
  for (const [kind, { dtype, differing, elements, taps }] of counts(input)) {
    const other = usual?.get(kind);
    const least = taps.some((tap) => input.gelus.has(tap)) ? USUAL_GELU : USUAL[dtype];
    const share = other === undefined ? least : Math.max(least, (FACTOR * other.differing) / other.elements);
    const allowed = Math.max(LEAST, share * elements);
    if (differing <= allowed || differing > most * elements) continue;
    for (const tap of taps) {
      const own = input.local.get(tap)!;
      const count = differingOf(own);
      // The fault may lie in some blocks of the kind only.
      const isUsual = count <= Math.max(LEAST, share * own.elements);
      if (isUsual && count / own.elements < (LITTLE * differing) / elements) continue;
      if (own.nmse > 0) found.set(tap, (own.nmse * allowed) / differing);
    }
  }
  return found;
}

/** Values with a choice of form, exact or approximated by tanh. */
export function geluTaps(config: ModelConfig): Set<string> {
  const forms = modelSites(config).filter(({ kind }) => kind === 'form');
  return new Set(forms.map(({ name }) => name.slice(0, name.lastIndexOf('#'))));
}

/**
 * Ops that reach over values which the policy rounds and no dump shows: what falls on the other side of a tie
 * there changes many of their elements.
 */
export function spannedRoundings(
  names: Iterable<string>,
  setting: Setting,
  { num_hidden_layers, model_type }: ModelConfig,
): Set<string> {
  const held = new Set(names);
  const rounds = (name: string) => setting(`${name}#round`) !== 'none';
  return new Set(
    [...held].filter((name) =>
      tapSpan(name, num_hidden_layers, held, false, model_type).inside.slice(0, -1).some(rounds),
    ),
  );
}

function differingOf({ bitEqual, elements }: LocalError): number {
  return Math.round((1 - bitEqual) * elements);
}

function counts({ local, setting, leftOut }: Omit<PooledInput, 'measured' | 'gelus'>): Map<string, Count> {
  const byKind = new Map<string, Count>();
  for (const [name, error] of local) {
    const { tap } = error;
    const dtype = setting(`${name}#round`) as 'none' | HalfDtype;
    if (dtype === 'none' || tap.dtype === 'I32' || leftOut.has(name)) continue;
    const kind = `${tapPlace(name).suffix} ${dtype}`;
    const count = byKind.get(kind) ?? { dtype, differing: 0, elements: 0, taps: [] };
    byKind.set(kind, count);
    count.differing += differingOf(error);
    count.elements += error.elements;
    count.taps.push(name);
  }
  return byKind;
}
