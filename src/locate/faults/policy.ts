import { tapOrder } from '../../diff/tap-order.js';
import type { DumpView } from '../../dump/dump-view.js';
import { type Policy, policy as presetPolicy, requireNearest } from '../../graph/policy.js';
import { architectureOf } from '../../models/architectures.js';
import { openModelSource } from '../../models/layout/source.js';
import { requireModelFit } from '../model-fit.js';
import { requireOtherFolder, standingNotes } from '../noise/noise-standing.js';
import { tiedChoices } from '../routing/tied-choices.js';
import { choiceGroups } from './choices.js';
import { errorOf, type OpEvidence } from './evidence.js';
import { locatedKinds } from './kinds.js';
import { localErrors } from './local.js';
import { reproFolder, shell } from './next-command.js';
import { label, modelNotes, noiseNotes, partialNotes, singleRunNotes } from './notes.js';
import { locateOps } from './ops.js';
import type { LocateOptions } from './options.js';
import type { LocatedChoice, LocateReport } from './report.js';
import { PolicyRunners } from './runners.js';
import { choiceAlone, pinnedRun, wholeRun } from './runs.js';
import { ownBeginnings } from './where/beginnings.js';

/** More choices than this are not run one by one: two runs each. */
const MAX_CHOICES = 12;

/**
 * Finds out which ops of a run under a policy make error of their own. Runs the reference's tokens as they
 * are and as an isolated replay, under the policy; replays them under `f32` for what each op's noise is; and,
 * for policies that differ from `f32` in few kinds of choice, runs each choice alone.
 *
 * @throws `BAD_ARGUMENT` for a reference that cannot be replayed (see `replay`); as `openModel`; `CANCELLED`.
 */
export async function locatePolicy(
  reference: DumpView,
  model: string,
  tested: Policy,
  options: LocateOptions = {},
): Promise<LocateReport> {
  const {
    noise,
    failAbove,
    allowNonFinite = false,
    onProgress,
    signal,
    policyArgument = tested.name,
    ...open
  } = options;
  requireNearest('locate', tested);
  if (noise !== undefined) requireOtherFolder('locate', reference, noise);
  const source = await openModelSource(model);
  using runners = new PolicyRunners(source, open);
  const run = (what: string) => ({
    signal,
    onProgress: (done: number, total: number) => onProgress?.(what, done, total),
  });
  requireModelFit('locate', source, reference);
  const f32 = presetPolicy('f32');
  const plain = await runners.use(f32);
  const dumps = [reference, ...(noise === undefined ? [] : [noise])];
  const notes = [
    ...standingNotes(reference, noise),
    ...partialNotes(dumps),
    ...(await modelNotes(runners.model!, dumps)),
  ];
  const lowDtypes = new Map(noise?.taps.map(({ name, dtype }) => [name, dtype]));
  const holds = (name: string) => noise === undefined || lowDtypes.has(name);
  const floors = [
    await localErrors(plain, reference, {
      right: 'dump',
      holds,
      ...run('noise of each op'),
    }),
  ];
  if (noise !== undefined)
    floors.push(
      await localErrors(plain, noise, {
        right: 'computed',
        holds,
        ...run('low-precision noise of each op'),
      }),
    );
  const groups = choiceGroups(tested, plain.config, runners.model!.weights.skipReachable);
  if (groups.length > MAX_CHOICES)
    notes.push(
      `The policy differs from f32 in ${groups.length} kinds of choice; more than ${MAX_CHOICES} are not run one by one.`,
    );
  const inOrder = groups.length > MAX_CHOICES ? [] : groups;

  const floorRun = await wholeRun(plain, reference, undefined, run('whole run under f32'));

  const runner = await runners.use(tested);
  const local = await localErrors(runner, reference, {
    right: 'dump',
    holds,
    spreads: ({ nmse }) => nmse > (failAbove ?? 1e-13),
    ...run('own error of each op'),
  });
  const whole = await wholeRun(runner, reference, noise, { ...run('whole run'), allowNonFinite });
  const evidence = new Map<string, OpEvidence>(
    [...whole.reports].map(([tap, cumulative]) => [
      tap,
      {
        cumulative,
        local: local.get(tap),
        // A copy is exact in the low-precision run, whose values are rounded already; of the reference's
        // values it rounds.
        floors: floors.flatMap((floor) => {
          const own = floor.get(tap);
          const low = lowDtypes.get(tap);
          return own === undefined ? [] : [own.nmse, low === 'BF16' || low === 'F16' ? own.rounding[low] : 0];
        }),
        noise: whole.noise?.get(tap)?.report(),
      },
    ]),
  );
  const { family } = architectureOf(plain.config);
  const located = locateOps(evidence, {
    failAbove,
    ties: await tiedChoices(reference, local, false),
    type: plain.config.model_type,
    family,
    blocks: plain.config.num_hidden_layers,
  });
  const { faults, begins, within, steps } = ownBeginnings(
    located.ops.filter(({ verdict }) => verdict === 'fault'),
    local,
    reference,
  );
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

  const blocks = plain.config.num_hidden_layers;
  const kinds = locatedKinds({
    mode: 'policy',
    faults,
    blocks,
    family,
    nonFinite: located.nonFinite,
    shares: located.shares,
    local,
    explained: explanations(choices),
    causes: [],
    begins,
    within,
    steps,
    next: (tap) =>
      `zayascope repro ${shell(reference.dir)} --model ${shell(model)} --op ${tap} --policy ${shell(policyArgument)} --out ${reproFolder(tap)}`,
  });
  const finalNoise = evidence.get(located.final)?.noise ?? null;
  return {
    format: 'zayascope-locate',
    version: 1,
    mode: 'policy',
    reference: label(reference),
    tested: tested.name,
    noise: noise === undefined ? null : label(noise),
    recomputed: null,
    found: faults.length > 0 || located.nonFinite !== null,
    mismatch: null,
    otherFile: null,
    unjudged: null,
    order: tapOrder(reference),
    firstFault: located.nonFinite?.tap ?? faults[0]?.tap ?? null,
    nonFinite: located.nonFinite,
    unpairedNonFinite: null,
    unfit: [],
    final: {
      tap: located.final,
      nmse: errorOf(whole.reports.get(located.final)!),
      floorNmse: errorOf(floorRun.reports.get(located.final)!),
      noise: finalNoise,
    },
    kinds,
    causes: [],
    choices,
    bisect:
      faults.length === 0 ? null : `zayascope bisect --model ${model} --good f32 --bad ${policyArgument}`,
    ops: located.ops,
    noiseByTap: noise === undefined ? null : [...evidence.values()].flatMap((entry) => entry.noise ?? []),
    floor: null,
    routing: drift === null ? null : { ...drift, pinned },
    notes: [
      ...notes,
      ...singleRunNotes(noise),
      ...noiseNotes([...evidence.values()].flatMap((entry) => entry.noise ?? [])),
    ],
  };
}

/** Sentence of a kind of op, from the choices that show there. */
function explanations(choices: readonly LocatedChoice[]): Map<string, { sentence: string; taps: null }[]> {
  const found = new Map<string, string[]>();
  for (const { shows, sentence } of [...choices].sort((a, b) => b.finalAlone - a.finalAlone))
    if (shows !== null && shows.largest > 4 * shows.floor)
      found.set(shows.kind, [...(found.get(shows.kind) ?? []), sentence]);
  return new Map(
    [...found].map(([kind, sentences]) => [kind, [{ sentence: `${sentences.join('; ')}.`, taps: null }]]),
  );
}
