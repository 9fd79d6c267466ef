import { plainReason } from '../../../capture/plain-policy.js';
import { tapOrder } from '../../../diff/tap-order.js';
import { badArgument } from '../../../errors.js';
import { type Policy, policy as presetPolicy } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { requireModelFit } from '../../model-fit.js';
import { requireOtherFolder, standingNotes } from '../../noise/noise-standing.js';
import { tapPlace } from '../../replay/tap-graph.js';
import { tiedChoices } from '../../routing/tied-choices.js';
import { type ChoiceGroup, choiceGroups } from '../choices.js';
import { errorOf, type OpEvidence } from '../evidence.js';
import { shownAt } from '../explain/hypotheses.js';
import { locatedKinds } from '../kinds.js';
import { localErrors } from '../local.js';
import { reproFolder, shell } from '../next-command.js';
import { label, modelNotes, noiseNotes, partialNotes, singleRunNotes } from '../notes.js';
import { choiceSentence } from '../plain-words.js';
import type { LocatedChoice, LocatedOp } from '../report.js';
import { choiceAlone, pinnedRun, wholeRun } from '../runs.js';
import { ownBeginnings } from '../where/beginnings.js';
import type { Conclusion, Judged, LocateCall, Measured } from './measured.js';

/** More choices than this are not run one by one: two runs each. */
const MAX_CHOICES = 12;

/** What each op of a run of the model under a policy errs by itself, beside what it does under `f32`. */
export async function measurePolicy(tested: Policy, call: LocateCall): Promise<Measured> {
  const { reference, model, source, runners, run } = call;
  if (model === undefined || source === undefined || runners === undefined)
    throw badArgument('locate', 'a model with a policy', 'none');
  const { noise, failAbove, allowNonFinite = false, policyArgument = tested.name } = call.options;
  if (noise !== undefined) requireOtherFolder('locate', reference, noise);
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
  const reason = plainReason(tested, runners.model!.weights);
  if (reason !== undefined) notes.push(`Policy ${reason}.`);
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
  const noiseOf = [...evidence.values()].flatMap((entry) => entry.noise ?? []);
  const conclude = async ({ kinds: input, final }: Judged): Promise<Conclusion> => {
    const drift = whole.routing.report(whole.noiseRouting);
    const pinned =
      drift === null || drift.flipped === 0
        ? null
        : await pinnedRun(runner, reference, final.tap, final.nmse, run('routing pinned'));
    const choices: LocatedChoice[] = [];
    for (const group of inOrder) {
      const one = await runners.use(group.policy);
      choices.push(await choiceAlone(one, group, reference, final.tap, floors[0]!, run(group.pattern)));
    }
    const { faults } = input;
    return {
      recomputed: null,
      found: faults.length > 0 || input.nonFinite !== null,
      kinds: locatedKinds({
        ...input,
        explained: new Map([...askedFor(faults, groups, tested, plain.config), ...explanations(choices)]),
      }),
      causes: [],
      choices,
      bisect:
        faults.length === 0 ? null : `zayascope bisect --model ${model} --good f32 --bad ${policyArgument}`,
      routing: drift === null ? null : { ...drift, pinned },
      notes: [...notes, ...singleRunNotes(noise), ...noiseNotes(noiseOf)],
    };
  };
  return {
    header: {
      format: 'zayascope-locate',
      version: 1,
      mode: 'policy',
      reference: label(reference),
      tested: tested.name,
      noise: noise === undefined ? null : label(noise),
      order: tapOrder(reference),
    },
    evidence,
    judging: {
      failAbove,
      ties: await tiedChoices(reference, local, false),
      type: plain.config.model_type,
      family: architectureOf(plain.config).family,
      blocks: plain.config.num_hidden_layers,
    },
    local,
    noiseByTap: noise === undefined ? null : noiseOf,
    floorNmse: (final) => errorOf(floorRun.reports.get(final)!),
    next: (tap) =>
      `zayascope repro ${shell(reference.dir)} --model ${shell(model)} --op ${tap} --policy ${shell(policyArgument)} --out ${reproFolder(tap)}`,
    unseen: async () => null,
    begin: async (failing) => ownBeginnings(failing, local, reference),
    conclude,
  };
}

/** Choices of one kind of op that are named. */
const NAMED = 3;

/** By kind of op what the policy asks for there: it is no fault of a program. */
function askedFor(
  faults: readonly LocatedOp[],
  groups: readonly ChoiceGroup[],
  tested: Policy,
  config: ModelConfig,
): Map<string, { sentence: string; taps: null }[]> {
  const { family } = architectureOf(config);
  const shows = shownAt(config);
  const found = new Map<string, { sentence: string; taps: null }[]>();
  for (const kind of new Set(faults.map(({ tap }) => tapPlace(tap).suffix))) {
    const inside = new Set(
      faults
        .filter(({ tap }) => tapPlace(tap).suffix === kind)
        .flatMap((op) => op.inside.map((tap) => tapPlace(tap).suffix)),
    );
    const asked = groups.flatMap((group) => {
      const at = shows.get(tapPlace(group.sites[0]!).suffix)?.find((suffix) => inside.has(suffix));
      return at === undefined ? [] : [choiceSentence(group.kind, group.set, at, family)];
    });
    const words = [...new Set(asked)];
    const more = words.length > NAMED ? `; and ${words.length - NAMED} more` : '';
    if (words.length > 0)
      found.set(kind, [
        {
          sentence: `policy ${tested.name} asks for this: ${words.slice(0, NAMED).join('; ')}${more}.`,
          taps: null,
        },
      ]);
  }
  return found;
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
