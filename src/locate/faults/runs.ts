/** The runs of the model that `locate` of a policy makes. */

import type { FloatTapReport, IntegerTapReport } from '../../diff/report.js';
import { compareTap, type TapComparison } from '../../diff/tap-comparison.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { hasRole } from '../../families/roles.js';
import { architectureOf } from '../../models/architectures.js';
import { TapNoiseSums } from '../noise/noise-floor.js';
import { type ReplayOptions, type Runner, replay } from '../replay/replay.js';
import { tapPlace } from '../replay/tap-graph.js';
import { changedChoices, isRoutingTap, type PinnedRouting, RoutingSums } from '../routing/drift.js';
import type { ChoiceGroup } from './choices.js';
import { errorOf } from './evidence.js';
import { type LocalError, localErrors } from './local.js';
import { choiceSentence } from './plain-words.js';
import type { LocatedChoice } from './report.js';

/** How to watch and stop a run. */
export type RunHooks = Pick<ReplayOptions, 'signal' | 'onProgress'>;

/** {@link RunHooks}, and whether what is not finite in the same way on both sides is left out. */
export interface WholeRunHooks extends RunHooks {
  allowNonFinite?: boolean;
}

/**
 * The reference's tokens run as they are: each value's error, and where there is a noise floor the noise of
 * each.
 */
export async function wholeRun(
  runner: Runner,
  reference: DumpView,
  noise: DumpView | undefined,
  { allowNonFinite = false, ...hooks }: WholeRunHooks,
) {
  const comparisons = new Map<string, TapComparison>();
  const noiseSums = new Map<string, TapNoiseSums>();
  const { family } = architectureOf(runner.config);
  const routing = new RoutingSums(family);
  const noiseRouting = noise === undefined ? undefined : new RoutingSums(family);
  const inNoise = new Set(noise?.taps.map(({ name }) => name));
  await replay(runner, {
    dump: reference,
    replace: null,
    ...hooks,
    async visit({ tap, dumped, shown }) {
      let comparison = comparisons.get(tap.name);
      if (comparison === undefined) {
        comparison = compareTap({ reference: tap, tested: { ...tap, dtype: shown.dtype } }, allowNonFinite);
        comparisons.set(tap.name, comparison);
      }
      comparison.add(dumped, shown);
      if (isRoutingTap(tap.name, family)) routing.add(dumped, shown);
      if (noise === undefined || !inNoise.has(tap.name)) return;
      const low = await noise.read(tap.name, { sequence: dumped.sequence[0]! });
      if (low.data.length !== dumped.data.length) return;
      if (isRoutingTap(tap.name, family)) noiseRouting!.add(dumped, low);
      if (tap.dtype === 'I32') return;
      let sums = noiseSums.get(tap.name);
      if (sums === undefined) {
        sums = new TapNoiseSums(tap);
        noiseSums.set(tap.name, sums);
      }
      sums.add(
        toFloat32(dumped.data, dumped.dtype),
        toFloat32(low.data, low.dtype),
        shown.data as Float32Array,
      );
    },
  });
  const reports = new Map(
    reference.taps
      .filter(({ name }) => comparisons.has(name))
      .map(({ name }) => [name, comparisons.get(name)!.report() as FloatTapReport | IntegerTapReport]),
  );
  return { reports, noise: noise === undefined ? undefined : noiseSums, routing, noiseRouting };
}

/** Sends every token to the reference's expert and sees what remains. */
export async function pinnedRun(
  runner: Runner,
  reference: DumpView,
  final: string,
  freeNmse: number,
  hooks: RunHooks,
): Promise<PinnedRouting> {
  let comparison: TapComparison | undefined;
  let flipped = 0;
  const { family } = architectureOf(runner.config);
  await replay(runner, {
    dump: reference,
    replace: family.roles['router.expert']!,
    ...hooks,
    visit({ tap, dumped, shown }) {
      if (hasRole(family, 'router.expert', tap.name)) flipped += changedChoices(dumped, shown);
      if (tap.name !== final) return;
      comparison ??= compareTap({ reference: tap, tested: { ...tap, dtype: 'F32' } });
      comparison.add(dumped, shown);
    },
  });
  return { finalNmse: errorOf(comparison!.report() as FloatTapReport), freeNmse, flipped };
}

/** Runs one choice alone: where its own error shows, and what it makes of the final error. */
export async function choiceAlone(
  runner: Runner,
  { pattern, op, kind: siteKind, set, blocks }: ChoiceGroup,
  reference: DumpView,
  final: string,
  floor: ReadonlyMap<string, LocalError>,
  hooks: RunHooks,
): Promise<LocatedChoice> {
  const local = await localErrors(runner, reference, { right: 'dump', ...hooks });
  // What differs from the replay under f32 is due to the choice: all else is the same computation, bit by
  // bit.
  const changed = [...local.values()].filter(({ tap, nmse }) => nmse !== floor.get(tap.name)!.nmse);
  const kind = changed[0] === undefined ? null : tapPlace(changed[0].tap.name).suffix;
  const own = changed.filter(({ tap }) => tapPlace(tap.name).suffix === kind);
  const sorted = own.map(({ nmse }) => nmse).sort((a, b) => a - b);
  let alone: TapComparison | undefined;
  await replay(runner, {
    dump: reference,
    replace: null,
    ...hooks,
    visit({ tap, dumped, shown }) {
      if (tap.name !== final) return;
      alone ??= compareTap({ reference: tap, tested: { ...tap, dtype: 'F32' } });
      alone.add(dumped, shown);
    },
  });
  return {
    sites: pattern,
    set,
    blocks,
    shows:
      kind === null
        ? null
        : {
            kind,
            largest: sorted.at(-1)!,
            median: sorted[(sorted.length - 1) >> 1]!,
            floor: Math.max(...own.map(({ tap }) => floor.get(tap.name)!.nmse)),
          },
    finalAlone: errorOf(alone!.report() as FloatTapReport),
    sentence: choiceSentence(
      siteKind,
      set,
      kind ?? op.slice(0, op.lastIndexOf('#')),
      architectureOf(runner.config).family,
    ),
  };
}
