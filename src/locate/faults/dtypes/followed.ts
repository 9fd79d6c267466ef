/**
 * A program of which nothing is known may round where transformers does. If nearly all of its values are, bit
 * for bit, what transformers makes of their inputs in half precision, an op in which a few elements are not
 * is at fault: sums in another order change fewer, and an op that rounds in other places changes many.
 */
import { policy as presetPolicy } from '../../../graph/policy.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { type LocalError, type LocalOptions, localErrors } from '../local.js';
import { label } from '../notes.js';
import { LIMIT_FACTOR } from '../ops.js';
import { isNoiseOf, type OwnErrorDumps, type OwnErrors } from '../own-errors.js';
import type { PolicyRunners } from '../runners.js';
import { geluTaps, pooledFaults, spannedRoundings } from './pooled.js';
import type { HalfDtype } from './rounding.js';

/**
 * Share of the elements of a value with the same bits from which its op counts as followed, and share of the
 * ops that must be.
 */
const SAME_BITS = 0.99;
const MOST_OPS = 0.75;
/** From this share of elements on an op rounds its output alone, which is right, too. */
const ROUNDS_ONCE = 0.999;
/** An op that differs in more elements may round in other places. */
const FEW = 0.05;

/** What following transformers' dtypes tells. */
export interface FollowedDtypes {
  /** As {@link pooledFaults}. */
  pooled: ReadonlyMap<string, number>;
  /** Own errors in those dtypes. */
  local: ReadonlyMap<string, LocalError>;
  /** What to tell. */
  note: string;
}

/**
 * Tries whether a dump follows transformers' dtypes. Null where it does not.
 * @param noise a run that counts as right: where it rounds alike, what differs in it is usual.
 * @param plain own errors of its ops with nothing rounded.
 */
export async function followedDtypes(
  runners: PolicyRunners,
  { tested, noise }: Pick<OwnErrorDumps, 'tested' | 'noise'>,
  half: HalfDtype,
  plain: ReadonlyMap<string, LocalError>,
  options: Pick<LocalOptions, 'holds' | 'signal' | 'onProgress' | 'spreads'>,
): Promise<FollowedDtypes | null> {
  const policy = presetPolicy(half === 'BF16' ? 'pytorch-bf16' : 'pytorch-f16');
  const runner = await runners.use(policy);
  const setting = settingOf(policy, runner.config);
  const local = await localErrors(runner, tested, { right: 'computed', ...options });
  const rounded = [...local.values()].filter(
    ({ tap }) => tap.dtype !== 'I32' && setting(`${tap.name}#round`) !== 'none',
  );
  const followed = rounded.filter(({ bitEqual }) => bitEqual >= SAME_BITS);
  if (followed.length < MOST_OPS * rounded.length || followed.length === 0) return null;
  const leftOut = spannedRoundings(local.keys(), setting, runner.config);
  for (const [name, { roundedOnce }] of plain) if (roundedOnce >= ROUNDS_ONCE) leftOut.add(name);
  const counted = (measured: ReadonlyMap<string, LocalError> | null) =>
    pooledFaults({ local, measured, setting, leftOut, gelus: geluTaps(runner.config), most: FEW });
  let pooled = counted(null);
  // the noise run only allows more: recomputing it can wait until something fails
  if (pooled.size > 0 && noise !== undefined && isNoiseOf(policy, noise))
    pooled = counted(
      await localErrors(runner, noise, { ...options, right: 'computed', spreads: () => false }),
    );
  return {
    pooled,
    local,
    note: `${label(tested)} rounds where transformers does: recomputed under ${policy.name}, ${followed.length} of ${rounded.length} values have the same bits.`,
  };
}

/** Ops that fail in the dtypes that a program follows are judged in them, unless they fail without. */
export function withFollowed(own: OwnErrors, { pooled, local }: FollowedDtypes): OwnErrors {
  const small = [...pooled.keys()].filter(
    (name) => own.local.get(name)!.nmse <= LIMIT_FACTOR * Math.max(...own.floors(name), 0),
  );
  return {
    ...own,
    small: new Map([...own.small, ...small.map((name) => [name, pooled.get(name)!] as const)]),
    local: new Map([...own.local, ...small.map((name) => [name, local.get(name)!] as const)]),
  };
}
