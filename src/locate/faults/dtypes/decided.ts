/** In which dtypes a dump's ops are recomputed: as the dump says, or as is found by trying. */

import { UNKNOWN } from '../../../dump/import/foreign.js';
import type { Policy } from '../../../graph/policy.js';
import type { ModelSource } from '../../../models/layout/source.js';
import { modelPolicy } from '../../../models/runtime/model-policy.js';
import {
  type OwnErrorDumps,
  type OwnErrorHooks,
  type OwnErrorOptions,
  type OwnErrors,
  ownErrors,
  ownPolicy,
} from '../own-errors.js';
import type { PolicyRunners } from '../runners.js';
import { type FollowedDtypes, followedDtypes, withFollowed } from './followed.js';
import { findRoundedParameters, type RoundedParameters } from './rounded-parameters.js';
import { ggufPolicy, mayHaveOtherFile } from './run-policy.js';
import { findStoredType, type StoredType } from './stored-types.js';

/** The dtypes, and own errors under them. */
export interface DecidedDtypes {
  base: Policy;
  own: OwnErrors;
  /** Weights that the run rounds; null: none found. */
  rounded: RoundedParameters | null;
  /** The type of file that ran; null: the model's own. */
  stored: StoredType | null;
  /** A sentence where the weights are others than the model's. */
  otherWeights: string | null;
  /** Half precision that single ops follow. */
  followed: FollowedDtypes | null;
}

/** What decides. */
export type DecideOptions = Omit<OwnErrorOptions, 'base'> & {
  /** Dtypes that the user gives: nothing is tried then. */
  recompute: Policy | undefined;
  source: ModelSource | undefined;
};

/** @param runners of the model; undefined: none at hand, so that nothing is recomputed. */
export async function decideDtypes(
  runners: PolicyRunners | undefined,
  dumps: OwnErrorDumps,
  { recompute, source, ...options }: DecideOptions,
  run: OwnErrorHooks,
): Promise<DecidedDtypes> {
  const { tested, noise } = dumps;
  const { holds } = options;
  const said = recompute ?? (source?.metadata !== undefined ? ggufPolicy(tested) : ownPolicy(tested));
  let base = source === undefined ? said : modelPolicy(said, source.config);
  let own = await ownErrors(runners, dumps, { ...options, base }, run);
  const decided = { rounded: null, stored: null, otherWeights: null, followed: null };
  if (runners === undefined || recompute !== undefined) return { ...decided, base, own };
  const rounded =
    base.name !== 'f32' || !mayHaveOtherFile(tested)
      ? null
      : await findRoundedParameters(runners, tested, base, own, {
          holds,
          ...run('trying dtypes of weights'),
        });
  if (rounded !== null) {
    base = rounded.policy;
    own = await ownErrors(runners, dumps, { ...options, base }, run);
  }
  const { stored, otherWeights } = mayHaveOtherFile(tested)
    ? await findStoredType(runners, tested, base, own, { holds, ...run('trying the types of files') })
    : decided;
  if (stored !== null) {
    base = stored.policy;
    own = await ownErrors(runners, dumps, { ...options, base }, run);
  }
  const isUnknown = base.name === 'f32' && tested.manifest.policy.name === UNKNOWN;
  const followed =
    !isUnknown || own.half === null || own.mismatch !== null
      ? null
      : await followedDtypes(runners, { tested, noise }, own.half, own.local, {
          holds,
          spreads: () => true,
          ...run('trying dtypes'),
        });
  if (followed !== null) own = withFollowed(own, followed);
  return { base, own, rounded, stored, otherWeights, followed };
}
