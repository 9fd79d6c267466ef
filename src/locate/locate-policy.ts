import type { FloatTapReport, IntegerTapReport } from '../diff/report.js';
import { compareTap, type TapComparison } from '../diff/tap-comparison.js';
import { toFloat32 } from '../dump/float.js';
import type { Dump } from '../dump/reader.js';
import { type Policy, policy as presetPolicy } from '../graph/policy.js';
import { type ChoiceGroup, choiceGroups } from './locate-choices.js';
import { errorOf, type OpEvidence } from './locate-evidence.js';
import { locatedKinds } from './locate-kinds.js';
import { type LocalError, localErrors } from './locate-local.js';
import { label, modelNotes } from './locate-notes.js';
import { locateOps } from './locate-ops.js';
import type { LocateOptions } from './locate-options.js';
import type { LocatedChoice, LocateReport } from './locate-report.js';
import { PolicyRunners } from './locate-runners.js';
import { TapNoiseSums } from './noise-floor.js';
import { choiceSentence } from './plain-words.js';
import { type Runner, replay } from './replay.js';
import { isRoutingTap, type PinnedRouting, RoutingSums, tiedChoices } from './routing-drift.js';
import { blockCount, tapPlace } from './tap-graph.js';

/** More choices than this are not run one by one: two runs each. */
const MAX_CHOICES = 12;

/**
 * Finds out which ops of a run under a policy make error of their own. Runs the reference's tokens as they are and as an isolated replay, under the policy; replays them under `f32`
 * for what each op's noise is; and, for policies that differ from `f32` in few kinds of choice, runs each choice alone.
 *
 * @throws `BAD_ARGUMENT` for a reference that cannot be replayed (see `replay`); as `openZaya`; `CANCELLED`.
 */
export async function locatePolicy(
  reference: Dump,
  model: string,
  tested: Policy,
  options: LocateOptions = {},
): Promise<LocateReport> {
  const { noise, failAbove, onProgress, signal, ...open } = options;
  using runners = new PolicyRunners(model, open);
  const run = (what: string) => ({
    ...(signal === undefined ? {} : { signal }),
    onProgress: (done: number, total: number) => onProgress?.(what, done, total),
  });
  const f32 = presetPolicy('f32');
  const plain = await runners.use(f32);
  const notes = await modelNotes(runners.model!, [reference, ...(noise === undefined ? [] : [noise])]);
  const lowDtypes = new Map(noise?.taps.map(({ name, dtype }) => [name, dtype]));
  const floors = [
    await localErrors(plain, reference, {
      right: 'dump',
      rounding: ({ name }) => lowDtypes.get(name) ?? 'F32',
      ...run('noise of each op'),
    }),
  ];
  if (noise !== undefined)
    floors.push(
      await localErrors(plain, noise, { right: 'computed', ...run('low-precision noise of each op') }),
    );
  const groups = choiceGroups(tested, plain.config);
  if (groups.length > MAX_CHOICES)
    notes.push(
      `The policy differs from f32 in ${groups.length} kinds of choice; more than ${MAX_CHOICES} are not run one by one.`,
    );
  const inOrder = groups.length > MAX_CHOICES ? [] : groups;

  const floorRun = await wholeRun(plain, reference, undefined, run('whole run under f32'));

  const runner = await runners.use(tested);
  const local = await localErrors(runner, reference, {
    right: 'dump',
    spreads: ({ nmse }) => nmse > (failAbove ?? 1e-13),
    ...run('own error of each op'),
  });
  const whole = await wholeRun(runner, reference, noise, run('whole run'));
  const evidence = new Map<string, OpEvidence>(
    [...whole.reports].map(([tap, cumulative]) => [
      tap,
      {
        cumulative,
        local: local.get(tap),
        // A copy is exact in the low-precision run, whose values are rounded already; of the reference's values it rounds.
        floors: floors.flatMap((floor) => {
          const own = floor.get(tap);
          return own === undefined ? [] : [own.nmse, own.roundingNmse];
        }),
        noise: whole.noise?.get(tap)?.report(),
      },
    ]),
  );
  const located = locateOps(evidence, { failAbove, ties: await tiedChoices(reference, local) });
  const faults = located.ops.filter(({ verdict }) => verdict === 'fault');
  const drift = whole.routing.report(whole.noiseRouting);
  const pinned =
    drift === null || drift.flipped === 0
      ? null
      : await pinnedRun(
          runner,
          reference,
          located.final,
          errorOf(whole.reports.get(located.final)!),
          run('routing pinned'),
        );
  const choices: LocatedChoice[] = [];
  for (const group of inOrder)
    choices.push(
      await choiceAlone(
        await runners.use(group.policy),
        group,
        reference,
        located.final,
        floors[0]!,
        run(group.pattern),
      ),
    );

  const blocks = blockCount(evidence.keys());
  const kinds = locatedKinds({
    mode: 'policy',
    faults,
    blocks,
    nonFinite: located.nonFinite,
    shares: located.shares,
    local,
    explained: explanations(choices),
    next: (tap) =>
      `zayascope repro ${reference.dir} --model ${model} --op ${tap} --policy ${tested.name} --out repro`,
  });
  const finalNoise = evidence.get(located.final)?.noise ?? null;
  return {
    format: 'zayascope-locate',
    version: 1,
    mode: 'policy',
    reference: label(reference),
    tested: tested.name,
    noise: noise === undefined ? null : label(noise),
    found: faults.length > 0 || located.nonFinite !== null,
    firstFault: located.nonFinite?.tap ?? faults[0]?.tap ?? null,
    nonFinite: located.nonFinite,
    final: {
      tap: located.final,
      nmse: errorOf(whole.reports.get(located.final)!),
      floorNmse: errorOf(floorRun.reports.get(located.final)!),
      noise: finalNoise,
    },
    kinds,
    choices,
    bisect: faults.length === 0 ? null : `zayascope bisect --model ${model} --good f32 --bad ${tested.name}`,
    ops: located.ops,
    noiseByTap: noise === undefined ? null : [...evidence.values()].flatMap((entry) => entry.noise ?? []),
    routing: drift === null ? null : { ...drift, pinned },
    notes,
  };
}

type RunHooks = Pick<Parameters<typeof replay>[1], 'signal' | 'onProgress'>;

async function wholeRun(runner: Runner, reference: Dump, noise: Dump | undefined, hooks: RunHooks) {
  const comparisons = new Map<string, TapComparison>();
  const noiseSums = new Map<string, TapNoiseSums>();
  const [routing, noiseRouting] = [new RoutingSums(), noise === undefined ? undefined : new RoutingSums()];
  const inNoise = new Set(noise?.taps.map(({ name }) => name));
  await replay(runner, {
    dump: reference,
    replace: null,
    ...hooks,
    async visit({ tap, dumped, shown }) {
      let comparison = comparisons.get(tap.name);
      if (comparison === undefined) {
        comparison = compareTap({ reference: tap, tested: { ...tap, dtype: shown.dtype } });
        comparisons.set(tap.name, comparison);
      }
      comparison.add(dumped, shown);
      if (isRoutingTap(tap.name)) routing.add(dumped, shown);
      if (noise === undefined || !inNoise.has(tap.name)) return;
      const low = await noise.read(tap.name, { sequence: dumped.sequence[0]! });
      if (low.data.length !== dumped.data.length) return;
      if (isRoutingTap(tap.name)) noiseRouting!.add(dumped, low);
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
async function pinnedRun(
  runner: Runner,
  reference: Dump,
  final: string,
  freeNmse: number,
  hooks: RunHooks,
): Promise<PinnedRouting> {
  let comparison: TapComparison | undefined;
  let flipped = 0;
  await replay(runner, {
    dump: reference,
    replace: '**.mlp.gate:expert',
    ...hooks,
    visit({ tap, dumped, shown }) {
      if (tap.name.endsWith('.mlp.gate:expert'))
        for (let k = 0; k < dumped.data.length; k++) flipped += Number(dumped.data[k] !== shown.data[k]);
      if (tap.name !== final) return;
      comparison ??= compareTap({ reference: tap, tested: { ...tap, dtype: 'F32' } });
      comparison.add(dumped, shown);
    },
  });
  return { finalNmse: errorOf(comparison!.report() as FloatTapReport), freeNmse, flipped };
}

/** Runs one choice alone: where its own error shows, and what it makes of the final error. */
async function choiceAlone(
  runner: Runner,
  { pattern, op, kind: siteKind, set, blocks }: ChoiceGroup,
  reference: Dump,
  final: string,
  floor: ReadonlyMap<string, LocalError>,
  hooks: RunHooks,
): Promise<LocatedChoice> {
  const local = await localErrors(runner, reference, { right: 'dump', ...hooks });
  // What differs from the replay under f32 is due to the choice: all else is the same computation, bit by bit.
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
    sentence: choiceSentence(siteKind, set, kind ?? op.slice(0, op.lastIndexOf('#'))),
  };
}

/** Sentence of a kind of op, from the choices that show there. */
function explanations(choices: readonly LocatedChoice[]): Map<string, string> {
  const found = new Map<string, string[]>();
  for (const { shows, sentence } of [...choices].sort((a, b) => b.finalAlone - a.finalAlone))
    if (shows !== null && shows.largest > 4 * shows.floor)
      found.set(shows.kind, [...(found.get(shows.kind) ?? []), sentence]);
  return new Map([...found].map(([kind, sentences]) => [kind, `${sentences.join('; ')}.`]));
}
