import { diffDumps } from '../../diff/diff.js';
import type { DiffReport, FloatTapReport, IntegerTapReport } from '../../diff/report.js';
import { sideBySide } from '../../diff/sides/side-by-side.js';
import type { DumpView } from '../../dump/dump-view.js';
import { UNKNOWN } from '../../dump/import/foreign.js';
import { fitDump, withoutTaps } from '../../dump/names/fitted-dump.js';
import { familyOf } from '../../dump/roles.js';
import { ZayascopeError } from '../../errors.js';
import { roleTap } from '../../families/roles.js';
import type { Policy } from '../../graph/policy.js';
import { openModelSource } from '../../models/layout/source.js';
import { modelPolicy } from '../../models/runtime/model-policy.js';
import { explainStructures } from '../causes/explain.js';
import { explainSequences, mixedAlone } from '../causes/sequences/explain.js';
import { modelTaps, requireModelFit } from '../model-fit.js';
import { commonRows, noiseFloor } from '../noise/noise-floor.js';
import { standingNotes } from '../noise/noise-standing.js';
import { blockCount } from '../replay/tap-graph.js';
import { isRoutingTap, RoutingSums } from '../routing/drift.js';
import { tiedChoices } from '../routing/tied-choices.js';
import { followedDtypes, withFollowed } from './dtypes/followed.js';
import { findRoundedParameters } from './dtypes/rounded-parameters.js';
import { storedAlone } from './dtypes/stored-alone.js';
import { findStoredType } from './dtypes/stored-types.js';
import { errorOf, type OpEvidence, valueReports } from './evidence.js';
import { explainFaults } from './hypotheses.js';
import { type KindInput, locatedKinds } from './kinds.js';
import { type Mismatch, tokenMismatch } from './mismatch.js';
import { isAllF32, nextCommand } from './next-command.js';
import {
  AS_STORED,
  cannotSay,
  coveredNotes,
  diffNotes,
  label,
  lackingNotes,
  noiseNotes,
  partialNotes,
  partnerNotes,
  recomputedNotes,
  referenceNotes,
  unexplained,
  withoutRowsNotes,
} from './notes.js';
import { type LocateOpsOptions, locateOps } from './ops.js';
import type { LocateOptions } from './options.js';
import { ownErrors, ownPolicy } from './own-errors.js';
import type { LocateReport } from './report.js';
import { PolicyRunners } from './runners.js';
import { gatheredBeginnings, ownBeginnings } from './where/beginnings.js';

/**
 * Finds out which ops of a tested dump make error of their own, without running the program that made it:
 * each is recomputed from the tested dump's own inputs, in F32 or in the dtypes of `recompute`. What an op
 * may err is measured on the reference in the same way, and on `noise` where given. Without a model only
 * errors that have gathered can be told, and where they begin.
 *
 * @param model folder or file of the checkpoint that both ran; undefined: none at hand.
 * @throws `BAD_ARGUMENT` for a tested dump that cannot be replayed (see `replay`); `UNPAIRED` for dumps that
 * have no value in common; as `openModel`; `CANCELLED`.
 */
export async function locateDumps(
  referenceDump: DumpView,
  testedDump: DumpView,
  model: string | undefined,
  options: LocateOptions = {},
): Promise<LocateReport> {
  const {
    noise: noiseDump,
    failAbove,
    allowNonFinite = false,
    onProgress,
    signal,
    policyArgument: _,
    mapArgument,
    recompute,
    order,
    explain = true,
    kept,
    ...open
  } = options;
  const run = (what: string) => ({
    signal,
    onProgress: (done: number, total: number) => onProgress?.(what, done, total),
  });
  const source = model === undefined ? undefined : await openModelSource(model);
  const made = source === undefined ? [] : modelTaps(source);
  const [reference, whole] = sideBySide('locate', referenceDump, testedDump, made);
  const noise = noiseDump && fitDump(noiseDump, [...reference.taps, ...made]);
  const diff = await diffDumps(reference, whole, {
    allowNonFinite,
    order,
    onProgress: run('comparing').onProgress,
  });
  const reports = valueReports(diff.tapReports).filter(({ rows }) => rows > 0);
  const unfit = unfitTaps(diff.unpaired);
  const tested = withoutTaps(whole, new Set(unfit));
  const dumps = [reference, tested, ...(noise === undefined ? [] : [noise])];
  const tokens = tokenMismatch(reference, dumps.slice(1));
  if (reports.length === 0)
    throw new ZayascopeError(
      'UNPAIRED',
      `locate: expected two dumps with values in common, got none${tokens === null ? '' : `: ${tokens.sentence}`} (${reference.dir}, ${tested.dir})`,
      { op: 'locate' },
    );
  if (tokens === null && diff.namesApart !== null)
    throw new ZayascopeError(
      'UNPAIRED',
      `locate: expected two dumps of the same values. ${diff.namesApart} (${reference.dir}, ${tested.dir})`,
      { op: 'locate' },
    );
  if (source !== undefined && tokens === null)
    for (const dump of [tested, reference]) requireModelFit('locate', source, dump);
  const header = {
    format: 'zayascope-locate',
    version: 1,
    mode: model === undefined ? 'dumps-alone' : 'dumps',
    reference: label(reference),
    tested: label(tested),
    noise: noise === undefined ? null : label(noise),
  } as const;
  if (tokens !== null) return mismatched({ ...header, order: diff.order }, tokens, reports, dumps);
  const noiseByTap = noise === undefined ? null : await noiseFloor(reference, noise, tested);
  const noises = new Map(noiseByTap?.map((entry) => [entry.tap, entry]));
  using owned = source === undefined || kept !== undefined ? undefined : new PolicyRunners(source, open);
  const runners = source === undefined ? undefined : (kept?.runners(source, open) ?? owned);
  let base = recompute ?? (source?.metadata !== undefined ? ggufPolicy(tested) : ownPolicy(tested));
  if (source !== undefined) base = modelPolicy(base, source.config);
  const holds = heldByAll(dumps);
  const judge = () =>
    ownErrors(
      runners,
      { reference, tested, noise },
      {
        failAbove,
        base,
        holds,
        kept,
      },
      run,
    );
  let own = await judge();
  const rounded =
    runners === undefined || recompute !== undefined || base.name !== 'f32' || !mayHaveOtherFile(tested)
      ? null
      : await findRoundedParameters(runners, tested, base, own, {
          holds,
          ...run('trying dtypes of weights'),
        });
  if (rounded !== null) {
    base = rounded.policy;
    own = await judge();
  }
  const { stored, otherWeights } =
    runners === undefined || recompute !== undefined || !mayHaveOtherFile(tested)
      ? { stored: null, otherWeights: null }
      : await findStoredType(runners, tested, base, own, { holds, ...run('trying the types of files') });
  if (stored !== null) {
    base = stored.policy;
    own = await judge();
  }
  const isUnknown = recompute === undefined && base.name === 'f32' && tested.manifest.policy.name === UNKNOWN;
  const followed =
    runners === undefined || !isUnknown || own.half === null || own.mismatch !== null
      ? null
      : await followedDtypes(runners, { tested, noise }, own.half, own.local, {
          holds,
          spreads: () => true,
          ...run('trying dtypes'),
        });
  if (followed !== null) own = withFollowed(own, followed);
  if (own.mismatch !== null)
    return mismatched({ ...header, order: diff.order }, own.mismatch, reports, dumps);
  if (otherWeights !== null)
    return mismatched(
      { ...header, order: diff.order },
      { kind: 'weights', sentence: otherWeights },
      reports,
      dumps,
    );
  const evidence = new Map<string, OpEvidence>(
    reports.map((cumulative): [string, OpEvidence] => {
      const { name } = cumulative;
      return [
        name,
        { cumulative, local: own.local.get(name), floors: own.floors(name), noise: noises.get(name) },
      ];
    }),
  );
  const routing = await routingDrift(reference, tested, noise);
  const wrong =
    routing?.flips.filter(({ cause }) => cause === 'wrong choice' || cause === 'no skip class') ?? [];
  const family = familyOf(reference.manifest);
  const wrongChoices = new Set(wrong.map(({ block }) => roleTap(family, 'router.expert', block)!));
  const judging: LocateOpsOptions = {
    failAbove,
    ties: await tiedChoices(tested, own.local, own.half !== null),
    alone: model === undefined ? { wrongChoices } : undefined,
    type: reference.manifest.model.type,
    family,
    small: own.small,
    continued: isContinued(tested),
  };
  const located = locateOps(evidence, judging);
  const storedUnseen = model === undefined ? await storedAlone(reference, tested, located.ops) : null;
  const ops = located.ops.map((op) =>
    storedUnseen?.taps.has(op.tap) ? { ...op, verdict: 'not judged' as const } : op,
  );
  const failing = ops.filter(({ verdict }) => verdict === 'fault');
  const gathered =
    model === undefined
      ? await gatheredBeginnings(reference, tested, evidence, failing, judging)
      : ownBeginnings(failing, own.local, tested);
  const { begins, within, steps } = gathered;
  const faults = gathered.faults.filter(({ tap }) => !storedUnseen?.taps.has(tap));
  const blocks = blockCount(evidence.keys());
  const input: KindInput = {
    mode: header.mode,
    faults,
    blocks,
    family,
    nonFinite: located.nonFinite,
    shares: located.shares,
    local: own.local,
    explained: new Map(),
    causes: [],
    begins,
    within,
    steps,
    next: (tap) =>
      nextCommand(
        tap,
        { ...{ reference, tested, base, mapArgument }, folder: model, model: runners?.model },
        blocks,
      ),
  };
  let kinds = locatedKinds(input);
  const [first] = model === undefined ? kinds : [];
  const mixed = first === undefined ? null : await mixedAlone(reference, tested, first.worst, first.limit);
  if (mixed !== null) kinds = locatedKinds({ ...input, explained: new Map([[first!.kind, mixed]]) });
  let structures: Awaited<ReturnType<typeof explainStructures>> = { causes: [], notes: [] };
  if (explain && runners !== undefined && kinds.length > 0) {
    const explained = await explainFaults(
      { runners, base, holds },
      tested,
      kinds,
      run('trying explanations'),
    );
    const open = kinds.filter(({ kind }) => !explained.has(kind));
    const batched = await explainSequences({ ...{ runners, base, tested, holds, faults }, kinds: open });
    const known = new Set(batched.flatMap((cause) => cause.kinds));
    const { causes, notes } = await explainStructures({
      ...{ runners, base, tested, holds, faults },
      kinds: open.filter(({ kind }) => !known.has(kind)),
      ...run('trying causes'),
    });
    structures = { causes: [...batched, ...causes], notes };
    kinds = locatedKinds({ ...input, explained, causes: structures.causes });
  }
  const isStored = base.name === AS_STORED && runners?.model !== undefined && !isAllF32(runners.model);
  const storedTypes = stored?.policy.rules.length
    ? `weights as a ${stored.type} file stores them`
    : isStored
      ? `the ${AS_STORED}`
      : null;
  const found = faults.length > 0 || located.nonFinite !== null || storedUnseen !== null || unfit.length > 0;
  const final = {
    tap: located.final,
    nmse: errorOf(evidence.get(located.final)!.cumulative),
    floorNmse: null,
    noise: noises.get(located.final) ?? null,
  };
  return {
    ...header,
    recomputed: model === undefined || base.name === 'f32' ? null : base.name,
    found,
    mismatch: null,
    otherFile: stored?.isOtherFile === true ? stored.note : null,
    unjudged: storedUnseen?.sentence ?? unfitSentence(unfit),
    order: diff.order,
    firstFault: located.nonFinite?.tap ?? faults[0]?.tap ?? null,
    nonFinite: located.nonFinite,
    unfit,
    final,
    kinds,
    causes: structures.causes,
    choices: [],
    bisect: null,
    ops,
    noiseByTap,
    routing: routing === null ? null : { ...routing, pinned: null },
    notes: [
      ...referenceNotes(reference),
      ...standingNotes(reference, noise, noiseByTap ?? []),
      ...coveredNotes(tested, noise, own.coveredByNoise, family),
      ...(stored === null || stored.isOtherFile ? [] : [stored.note]),
      ...partialNotes(dumps),
      ...withoutRowsNotes(diff.tapReports),
      ...partnerNotes(reference, tested, reports),
      ...(found ? [] : unexplained(final, own.half !== null, recompute, storedTypes)),
      ...(rounded === null ? [] : [rounded.note]),
      ...(stored === null && rounded === null ? recomputedNotes(tested, base) : []),
      ...(followed === null ? [] : [followed.note]),
      ...own.notes,
      ...structures.notes,
      ...diffNotes(diff),
      ...lackingNotes(reports, noise),
      ...noiseNotes(noiseByTap ?? []),
      ...cannotSay(model, noise, routing?.flipped ?? 0),
    ],
  };
}

/** Taps of both dumps whose values do not fit each other. */
function unfitTaps(unpaired: DiffReport['unpaired']): string[] {
  return unpaired.flatMap(({ tap, side, rows }) =>
    tap !== null && side === 'both' && rows === 0 ? [tap] : [],
  );
}

function unfitSentence(taps: readonly string[]): string | null {
  const [first] = taps;
  if (first === undefined) return null;
  return `${taps.length} ${taps.length === 1 ? 'value has' : 'values have'} no partner that fits, first ${first}: ops are judged over the others, and nothing passes.`;
}

/** True for a dump of several forward calls. */
function isContinued({ manifest }: DumpView): boolean {
  return manifest.steps > 1;
}

/** True for a run of which nothing says that its weights are a checkpoint's, or that of a GGUF file. */
function mayHaveOtherFile({ manifest }: DumpView): boolean {
  return manifest.policy.name === UNKNOWN || manifest.model.layout?.startsWith('gguf') === true;
}

/** Of a capture that says in which types it kept a GGUF file's matrices: these; all else is to be found. */
function recordedWeights({ manifest }: DumpView): Policy | undefined {
  const { rules } = manifest.policy;
  if (manifest.model.layout?.startsWith('gguf') !== true || !Array.isArray(rules)) return undefined;
  const weights = rules.filter(
    (rule): rule is Policy['rules'][number] =>
      typeof rule?.sites === 'string' && typeof rule.set === 'string' && rule.sites.endsWith('#weight'),
  );
  return weights.length === 0
    ? undefined
    : {
        name: AS_STORED,
        description: `matrices as policy ${manifest.policy.name} keeps them`,
        rules: weights,
      };
}

/**
 * The policy of a GGUF file's run, unless the dump says: another program than transformers multiplies with
 * the types of the file.
 */
function ggufPolicy(tested: DumpView): Policy {
  if (tested.manifest.policy.name !== UNKNOWN) return recordedWeights(tested) ?? ownPolicy(tested);
  return {
    name: AS_STORED,
    description: 'matrices and activations in the types of the GGUF file',
    rules: [{ sites: '**#weight', set: 'stored' }],
  };
}

/** The report of two runs whose ops cannot be compared. */
function mismatched(
  header: Pick<LocateReport, 'format' | 'version' | 'mode' | 'reference' | 'tested' | 'noise' | 'order'>,
  mismatch: Mismatch,
  reports: readonly (FloatTapReport | IntegerTapReport)[],
  dumps: readonly DumpView[],
): LocateReport {
  const last = reports.findLast(({ kind }) => kind === 'float') ?? reports.at(-1)!;
  return {
    ...header,
    recomputed: null,
    found: true,
    mismatch,
    otherFile: null,
    unjudged: null,
    firstFault: null,
    nonFinite: null,
    unfit: [],
    final: { tap: last.name, nmse: errorOf(last), floorNmse: null, noise: null },
    kinds: [],
    causes: [],
    choices: [],
    bisect: null,
    ops: [],
    noiseByTap: null,
    routing: null,
    notes: partialNotes(dumps),
  };
}

/** True for values that all dumps hold. */
function heldByAll(dumps: readonly DumpView[]): (name: string) => boolean {
  const names = dumps.map(({ taps }) => new Set(taps.map(({ name }) => name)));
  return (name) => names.every((held) => held.has(name));
}

async function routingDrift(reference: DumpView, tested: DumpView, noise: DumpView | undefined) {
  const gather = async (other: DumpView): Promise<RoutingSums> => {
    const family = familyOf(reference.manifest);
    const sums = new RoutingSums(family);
    const held = new Set(other.taps.map(({ name }) => name));
    for (const { name } of reference.taps)
      if (isRoutingTap(name, family) && held.has(name))
        for await (const [a, b] of commonRows([reference, other], name)) sums.add(a!, b!);
    return sums;
  };
  const own = await gather(tested);
  return own.report(noise === undefined ? undefined : await gather(noise));
}
