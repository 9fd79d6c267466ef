import { diffDumps } from '../../diff/diff.js';
import { sideBySide } from '../../diff/sides/side-by-side.js';
import type { DumpView } from '../../dump/dump-view.js';
import { fitDump, withoutTaps } from '../../dump/names/fitted-dump.js';
import { familyOf } from '../../dump/roles.js';
import { ZayascopeError } from '../../errors.js';
import { roleTap } from '../../families/roles.js';
import { requireNearest } from '../../graph/policy.js';
import { openModelSource } from '../../models/layout/source.js';
import { modelTaps, requireModelFit } from '../model-fit.js';
import { commonRows } from '../noise/common-rows.js';
import { floorRoutingLines } from '../noise/floor/words.js';
import { judgeNoise } from '../noise/noise-floor.js';
import { standingNotes } from '../noise/noise-standing.js';
import { blockCount } from '../replay/tap-graph.js';
import { isRoutingTap, RoutingSums } from '../routing/drift.js';
import { tiedChoices } from '../routing/tied-choices.js';
import { coarsestDtype } from './alone.js';
import { decideDtypes } from './dtypes/decided.js';
import { storedAlone } from './dtypes/stored-alone.js';
import { errorOf, type OpEvidence, valueReports } from './evidence.js';
import { explainKinds } from './explain/explained-kinds.js';
import type { KindInput } from './kinds.js';
import { mismatchReport, tokenMismatch, tokensUnknown } from './mismatch.js';
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
import type { LocateReport } from './report.js';
import { PolicyRunners } from './runners.js';
import {
  lackingSentence,
  unfinishedSentence,
  unfitSentence,
  unfitTaps,
  wrongReferenceSentence,
} from './unjudged.js';
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
  if (recompute !== undefined) requireNearest('locate', recompute);
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
  if (reports.length === 0 && (tokens === null || dumps.some(tokensUnknown)))
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
  if (tokens !== null) return mismatchReport({ ...header, order: diff.order }, tokens, reports, dumps);
  const judged = noise === undefined ? null : await judgeNoise(reference, noise, tested);
  const noiseByTap = judged?.taps ?? null;
  const noises = new Map(noiseByTap?.map((entry) => [entry.tap, entry]));
  using owned = source === undefined || kept !== undefined ? undefined : new PolicyRunners(source, open);
  const runners = source === undefined ? undefined : (kept?.runners(source, open) ?? owned);
  const holds = await heldByAll(dumps);
  const { base, own, rounded, stored, otherWeights, followed } = await decideDtypes(
    runners,
    { reference, tested, noise },
    { recompute, failAbove, holds, kept, source },
    run,
  );
  if (own.mismatch !== null)
    return mismatchReport({ ...header, order: diff.order }, own.mismatch, reports, dumps);
  if (otherWeights !== null)
    return mismatchReport(
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
    alone:
      model === undefined
        ? { failAbove, dtype: coarsestDtype(reference, tested), wrongChoices, family }
        : undefined,
    blocks:
      source?.config.num_hidden_layers ??
      blockCount([...reference.taps, ...tested.taps].map(({ name }) => name)),
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
  const { blocks } = judging;
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
        {
          ...{ reference, tested, base, mapArgument },
          folder: model,
          model: unfit.length > 0 ? undefined : runners?.model,
        },
        blocks,
      ),
  };
  const { kinds, causes, notes } = await explainKinds(input, {
    ...{ runners: explain ? runners : undefined, base, reference, tested, holds, faults },
    isAlone: model === undefined,
    run,
  });
  const isStored = base.name === AS_STORED && runners?.model !== undefined && !isAllF32(runners.model);
  const storedTypes = stored?.policy.rules.length
    ? `weights as a ${stored.type} file stores them`
    : isStored
      ? `the ${AS_STORED}`
      : null;
  const alone = diff.unpairedNonFinite;
  const isSilent =
    faults.length === 0 &&
    located.nonFinite === null &&
    alone.counted === 0 &&
    storedUnseen === null &&
    unfit.length === 0;
  const partners = partnerNotes(reference, tested, reports);
  // What a side's own selection left out is not asked for.
  const lacksTokens = diff.unpaired.some(({ tap, rows }) => tap === null && rows > 0);
  const wrongReference = wrongReferenceSentence(own.referenceFault, reference, tested);
  const unfinished = isSilent
    ? (unfinishedSentence(dumps, ops) ??
      wrongReference ??
      (lacksTokens ? lackingSentence(partners, ops) : null))
    : null;
  const found = !isSilent || unfinished !== null;
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
    unjudged: storedUnseen?.sentence ?? unfitSentence(unfit, diff.unpaired) ?? unfinished,
    order: diff.order,
    firstFault: located.nonFinite?.tap ?? faults[0]?.tap ?? alone.first?.tap ?? null,
    nonFinite: located.nonFinite,
    unpairedNonFinite: alone,
    unfit,
    final,
    kinds,
    causes,
    choices: [],
    bisect: null,
    ops,
    noiseByTap,
    floor: judged?.floor ?? null,
    routing: routing === null ? null : { ...routing, pinned: null },
    notes: [
      ...(wrongReference === null || unfinished === wrongReference ? [] : [wrongReference]),
      ...referenceNotes(reference),
      ...standingNotes(reference, noise, noiseByTap ?? []),
      ...coveredNotes(tested, noise, own.coveredByNoise, family),
      ...(stored === null || stored.isOtherFile ? [] : [stored.note]),
      ...partialNotes(dumps),
      ...withoutRowsNotes(diff.tapReports),
      ...partners.filter((note) => unfinished?.startsWith(note) !== true),
      ...(found ? [] : unexplained(final, own.half !== null, recompute, storedTypes)),
      ...(rounded === null ? [] : [rounded.note]),
      ...(model !== undefined && stored === null && rounded === null ? recomputedNotes(tested, base) : []),
      ...(followed === null ? [] : [followed.note]),
      ...own.notes,
      ...notes,
      ...diffNotes(diff),
      ...lackingNotes(reports, noise),
      ...(judged?.floor == null ? [] : floorRoutingLines(judged.floor)),
      ...noiseNotes(noiseByTap ?? []),
      ...cannotSay(model, noise, routing?.flipped ?? 0),
    ],
  };
}

/** True for a dump of several forward calls. */
function isContinued({ manifest }: DumpView): boolean {
  return manifest.steps > 1;
}

/**
 * True for values that all dumps hold whole, or up to the forward call in which a run ended. A run that was
 * asked for the last token's logits alone has a row of its last values: they are compared, and nothing is
 * recomputed from them.
 */
async function heldByAll(dumps: readonly DumpView[]): Promise<(name: string) => boolean> {
  const held = await Promise.all(
    dumps.map(async (dump) => {
      const names = new Set<string>();
      for (const { name, nullable } of dump.taps)
        if (nullable !== true || (await endsInLastCall(dump, name))) names.add(name);
      return names;
    }),
  );
  return (name) => held.every((names) => names.has(name));
}

/** True for a value of a partial dump that its last forward call lacks, and all calls before it have. */
async function endsInLastCall(dump: DumpView, name: string): Promise<boolean> {
  if (dump.manifest.status !== 'partial') return false;
  const { step } = await dump.rows(name);
  const last = step.reduce((a, b) => Math.max(a, b), 0);
  const before = step.filter((each) => each < last).length;
  let there = 0;
  for await (const batch of dump.stream(name)) {
    if (batch.step.at(-1) === last) return false;
    there += batch.shape[0]!;
  }
  return before > 0 && there === before;
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
