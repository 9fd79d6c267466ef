import { diffDumps } from '../../../diff/diff.js';
import { sideBySide } from '../../../diff/sides/side-by-side.js';
import type { DumpView } from '../../../dump/dump-view.js';
import { fitDump, withoutTaps } from '../../../dump/names/fitted-dump.js';
import { familyOf } from '../../../dump/roles.js';
import { unmet, ZayascopeError } from '../../../errors.js';
import { roleTap } from '../../../families/roles.js';
import { modelTaps, requireModelFit } from '../../model-fit.js';
import { commonRows } from '../../noise/common-rows.js';
import { floorRoutingLines } from '../../noise/floor/words.js';
import { judgeNoise } from '../../noise/noise-floor.js';
import { standingNotes } from '../../noise/noise-standing.js';
import { blockCount } from '../../replay/tap-graph.js';
import { isRoutingTap, RoutingSums } from '../../routing/drift.js';
import { tiedChoices } from '../../routing/tied-choices.js';
import { coarsestDtype } from '../alone.js';
import { decideDtypes } from '../dtypes/decided.js';
import { storedAlone } from '../dtypes/stored-alone.js';
import { type OpEvidence, valueReports } from '../evidence.js';
import { explainKinds } from '../explain/explained-kinds.js';
import { type Mismatch, mismatchReport, tokenMismatch, tokensUnknown } from '../mismatch.js';
import { isAllF32, nextCommand } from '../next-command.js';
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
  referenceNotes,
  unexplained,
  withoutRowsNotes,
} from '../notes.js';
import type { LocateOpsOptions } from '../ops.js';
import type { LocateReport } from '../report.js';
import {
  lackingSentence,
  unfinishedSentence,
  unfitSentence,
  unfitTaps,
  wrongReferenceSentence,
} from '../unjudged.js';
import { gatheredBeginnings, ownBeginnings } from '../where/beginnings.js';
import { heldByAll, isContinued } from './held.js';
import type { Conclusion, Judged, LocateCall, Measured } from './measured.js';
import { recomputedNotes } from './recomputed.js';

/**
 * What each op of a tested dump errs by itself, beside what a right one may; or the report, where the dumps
 * are of other prompts or other weights.
 */
export async function measureDumps(whole: DumpView, call: LocateCall): Promise<Measured | LocateReport> {
  const { model, source, runners, run } = call;
  const { noise: noiseDump, failAbove, allowNonFinite = false, mapArgument } = call.options;
  const { recompute, order, explain = true, kept } = call.options;
  const made = source === undefined ? [] : modelTaps(source);
  const [reference, beside] = sideBySide('locate', call.reference, whole, made);
  const noise = noiseDump && fitDump(noiseDump, [...reference.taps, ...made]);
  const diff = await diffDumps(reference, beside, {
    allowNonFinite,
    order,
    onProgress: run('comparing').onProgress,
  });
  const reports = valueReports(diff.tapReports).filter(({ rows }) => rows > 0);
  const unfit = unfitTaps(diff.unpaired);
  const tested = withoutTaps(beside, new Set(unfit));
  const dumps = [reference, tested, ...(noise === undefined ? [] : [noise])];
  const tokens = tokenMismatch(reference, dumps.slice(1));
  requireComparable(reference, tested, {
    tokens,
    hasValues: reports.length > 0 || (tokens !== null && !dumps.some(tokensUnknown)),
    namesApart: diff.namesApart,
  });
  if (source !== undefined && tokens === null)
    for (const dump of [tested, reference]) requireModelFit('locate', source, dump);
  const header = {
    format: 'zayascope-locate',
    version: 1,
    mode: model === undefined ? 'dumps-alone' : 'dumps',
    reference: label(reference),
    tested: label(tested),
    noise: noise === undefined ? null : label(noise),
    order: diff.order,
  } as const;
  if (tokens !== null) return mismatchReport(header, tokens, reports, dumps);
  const judged = noise === undefined ? null : await judgeNoise(reference, noise, tested);
  const noiseByTap = judged?.taps ?? null;
  const noises = new Map(noiseByTap?.map((entry) => [entry.tap, entry]));
  const holds = await heldByAll(dumps);
  const { base, own, rounded, stored, otherWeights, followed } = await decideDtypes(
    runners,
    { reference, tested, noise },
    { recompute, failAbove, holds, kept, source },
    run,
  );
  const others = own.mismatch ?? weightsOf(otherWeights);
  if (others !== null) return mismatchReport(header, others, reports, dumps);
  const evidence = new Map<string, OpEvidence>(
    reports.map((cumulative): [string, OpEvidence] => {
      const { name } = cumulative;
      return [
        name,
        { cumulative, local: own.local.get(name), floors: own.floors(name), noise: noises.get(name) },
      ];
    }),
  );
  const routing = await dumpedDrift(reference, tested, noise);
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
  const conclude = async ({ kinds: input, ops, final, unseen }: Judged): Promise<Conclusion> => {
    const { faults } = input;
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
      input.nonFinite === null &&
      alone.counted === 0 &&
      unseen === null &&
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
    return {
      recomputed: model === undefined || base.name === 'f32' ? null : base.name,
      found,
      otherFile: stored?.isOtherFile === true ? stored.note : null,
      unjudged: unseen?.sentence ?? unfitSentence(unfit, diff.unpaired) ?? unfinished,
      unpairedNonFinite: alone,
      unfit,
      kinds,
      causes,
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
        ...(model !== undefined && stored === null && rounded === null
          ? recomputedNotes(tested, base, recompute, runners?.model?.weights)
          : []),
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
  };
  return {
    header,
    evidence,
    judging,
    local: own.local,
    noiseByTap,
    floorNmse: () => null,
    next: (tap) =>
      nextCommand(
        tap,
        {
          ...{ reference, tested, base, mapArgument },
          folder: model,
          model: unfit.length > 0 ? undefined : runners?.model,
        },
        judging.blocks,
      ),
    unseen: async (ops) => (model === undefined ? await storedAlone(reference, tested, ops) : null),
    begin: async (failing) =>
      model === undefined
        ? await gatheredBeginnings(reference, tested, evidence, failing, judging)
        : ownBeginnings(failing, own.local, tested),
    conclude,
  };
}

function weightsOf(sentence: string | null): Mismatch | null {
  return sentence === null ? null : { kind: 'weights', sentence };
}

/** Throws `UNPAIRED` for dumps of which nothing, not even that tokens differ, can be said. */
function requireComparable(
  reference: DumpView,
  tested: DumpView,
  known: { tokens: Mismatch | null; hasValues: boolean; namesApart: string | null },
): void {
  const { tokens, hasValues, namesApart } = known;
  const where = `${reference.dir}, ${tested.dir}`;
  if (!hasValues) {
    const why = tokens === null ? '' : `: ${tokens.sentence}`;
    throw unmet('UNPAIRED', 'locate', 'two dumps with values in common', `none${why}`, { where });
  }
  if (tokens === null && namesApart !== null)
    throw new ZayascopeError(
      'UNPAIRED',
      `locate: expected two dumps of the same values. ${namesApart} (${where})`,
      { op: 'locate' },
    );
}

/** How routing of two dumps, and that of the noise, drift apart. */
async function dumpedDrift(reference: DumpView, tested: DumpView, noise: DumpView | undefined) {
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
