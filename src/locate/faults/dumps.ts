import { diffDumps } from '../../diff/diff.js';
import { nonFiniteLines } from '../../diff/format/non-finite.js';
import type { DiffReport } from '../../diff/report.js';
import type { DumpView } from '../../dump/dump-view.js';
import type { TapDtype } from '../../dump/format.js';
import { ZayascopeError } from '../../errors.js';
import { type Policy, policy as presetPolicy } from '../../graph/policy.js';
import { commonRows, noiseFloor } from '../noise/noise-floor.js';
import { blockCount } from '../replay/tap-graph.js';
import { isRoutingTap, RoutingSums, tiedChoices } from '../routing/drift.js';
import { errorOf, type OpEvidence, valueReports } from './evidence.js';
import { explainFaults } from './hypotheses.js';
import { type KindInput, locatedKinds } from './kinds.js';
import { type LocalError, localErrors } from './local.js';
import { label, modelNotes, noiseNotes } from './notes.js';
import { locateOps } from './ops.js';
import type { LocateOptions } from './options.js';
import type { LocateReport } from './report.js';
import { PolicyRunners } from './runners.js';

/**
 * Finds out which ops of a tested dump make error of their own, without running the program that made it: each is recomputed from the tested dump's own inputs, in F32 or in the dtypes of `recompute`. What an op
 * may err is measured on the reference in the same way, and on `noise` where given. Without a model only errors that have gathered can be told, and where they begin.
 *
 * @param model folder or file of the checkpoint that both ran; undefined: none at hand.
 * @throws `BAD_ARGUMENT` for a tested dump that cannot be replayed (see `replay`); `UNPAIRED` for dumps that have no value in common; as `openZaya`; `CANCELLED`.
 */
export async function locateDumps(
  reference: DumpView,
  tested: DumpView,
  model: string | undefined,
  options: LocateOptions = {},
): Promise<LocateReport> {
  const {
    noise,
    failAbove,
    allowNonFinite = false,
    onProgress,
    signal,
    policyArgument: _,
    recompute,
    ...open
  } = options;
  const run = (what: string) => ({
    ...(signal === undefined ? {} : { signal }),
    onProgress: (done: number, total: number) => onProgress?.(what, done, total),
  });
  const diff = await diffDumps(reference, tested, {
    allowNonFinite,
    onProgress: run('comparing').onProgress,
  });
  const reports = valueReports(diff.tapReports).filter(({ rows }) => rows > 0);
  if (reports.length === 0)
    throw new ZayascopeError(
      'UNPAIRED',
      `locate: expected two dumps with values in common, got none (${reference.dir}, ${tested.dir})`,
      { op: 'locate' },
    );
  const noiseByTap = noise === undefined ? null : await noiseFloor(reference, noise, tested);
  const noises = new Map(noiseByTap?.map((entry) => [entry.tap, entry]));
  using runners = model === undefined ? undefined : new PolicyRunners(model, open);
  const policyOf = (dump: DumpView) => (dump === tested ? recompute : undefined) ?? ownPolicy(dump);
  const own = await ownErrors(runners, { reference, tested, noise }, { failAbove, policyOf }, run);
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
  const wrong = routing?.flips.filter(({ cause }) => cause === 'wrong choice') ?? [];
  const wrongChoices = new Set(wrong.map(({ block }) => `layers.${block}.mlp.gate:expert`));
  const located = locateOps(evidence, {
    failAbove,
    ties: await tiedChoices(tested, own.local),
    alone: model === undefined ? { wrongChoices } : undefined,
  });
  const faults = located.ops.filter(({ verdict }) => verdict === 'fault');
  const input: KindInput = {
    mode: model === undefined ? 'dumps-alone' : 'dumps',
    faults,
    blocks: blockCount(evidence.keys()),
    nonFinite: located.nonFinite,
    shares: located.shares,
    local: own.local,
    explained: new Map(),
    next: (tap) => nextCommand(tap, { reference, tested, model }),
  };
  let kinds = locatedKinds(input);
  if (runners !== undefined && kinds.length > 0)
    kinds = locatedKinds({
      ...input,
      explained: await explainFaults(
        { runners, base: policyOf(tested) },
        tested,
        kinds,
        run('trying explanations'),
      ),
    });
  return {
    format: 'zayascope-locate',
    version: 1,
    mode: input.mode,
    reference: label(reference),
    tested: label(tested),
    noise: noise === undefined ? null : label(noise),
    found: faults.length > 0 || located.nonFinite !== null,
    order: diff.order,
    firstFault: located.nonFinite?.tap ?? faults[0]?.tap ?? null,
    nonFinite: located.nonFinite,
    final: {
      tap: located.final,
      nmse: errorOf(evidence.get(located.final)!.cumulative),
      floorNmse: null,
      noise: noises.get(located.final) ?? null,
    },
    kinds,
    choices: [],
    bisect: null,
    ops: located.ops,
    noiseByTap,
    routing: routing === null ? null : { ...routing, pinned: null },
    notes: [
      ...own.notes,
      ...diffNotes(diff),
      ...noiseNotes(noiseByTap ?? []),
      ...cannotSay(model, noise, routing?.flipped ?? 0),
    ],
  };
}

/**
 * Recomputed in its own dtypes an op gives the dump's bits, but for sums in another order that fall on the other side of a tie: an error of a unit in the last place, whose energy is 12 times
 * that of rounding, in up to one element of a thousand.
 */
const FLIPPED_ULPS = 12 / 1000;

/** In which dtypes the ops of a dump are recomputed, unless the user says. */
function ownPolicy({ manifest }: DumpView): Policy {
  const { name } = manifest.policy;
  if (name === 'transformers-bfloat16') return presetPolicy('pytorch-bf16');
  return presetPolicy(name === 'transformers-float16' ? 'pytorch-f16' : 'f32');
}

interface Dumps {
  reference: DumpView;
  tested: DumpView;
  noise: DumpView | undefined;
}

/** Own errors of the tested dump's ops, and by tap those of runs that count as right. */
async function ownErrors(
  runners: PolicyRunners | undefined,
  { reference, tested, noise }: Dumps,
  { failAbove, policyOf }: { failAbove: number | undefined; policyOf: (dump: DumpView) => Policy },
  run: (what: string) => Pick<Parameters<typeof localErrors>[2], 'signal' | 'onProgress'>,
) {
  if (runners === undefined)
    return { local: new Map<string, LocalError>(), floors: () => [] as number[], notes: [] as string[] };
  await runners.use(policyOf(tested));
  const notes = await modelNotes(runners.model!, [
    reference,
    tested,
    ...(noise === undefined ? [] : [noise]),
  ]);
  const measured: Map<string, LocalError>[] = [];
  for (const [dump, what] of [
    [reference, 'noise of each op'],
    [noise, 'low-precision noise of each op'],
  ] as const)
    try {
      if (dump !== undefined)
        measured.push(
          await localErrors(await runners.use(policyOf(dump)), dump, { right: 'computed', ...run(what) }),
        );
    } catch (error) {
      if (!(error instanceof ZayascopeError && error.code === 'BAD_ARGUMENT')) throw error;
      notes.push(`${label(dump!)} cannot tell the noise of ops: ${error.message}`);
    }
  // A program in half precision may round inside an op whose output it keeps in F32: where that is measured it is known, else it must be allowed.
  const policy = policyOf(tested);
  const rounds = policy.name !== 'f32';
  const coarsest = noise === undefined && !rounds ? coarsestDtype(tested) : 'F32';
  if (rounds) notes.push(`Ops of ${label(tested)} are recomputed in the dtypes of policy ${policy.name}.`);
  if (coarsest !== 'F32')
    notes.push(
      `Without --noise every op of ${label(tested)} may round to ${coarsest}, as most of its values are.`,
    );
  const local = await localErrors(await runners.use(policy), tested, {
    right: 'computed',
    rounding: ({ dtype }) => (dtype === 'F32' ? coarsest : dtype),
    spreads: ({ nmse }) => nmse > (failAbove ?? 1e-13),
    ...run('own error of each op'),
  });
  const floors = (name: string) => {
    const rounding = (rounds ? FLIPPED_ULPS : 1) * (local.get(name)?.roundingNmse ?? 0);
    return [...measured.flatMap((floor) => floor.get(name)?.nmse ?? []), ...(rounding > 0 ? [rounding] : [])];
  };
  return { local, floors, notes };
}

function coarsestDtype({ taps }: DumpView): TapDtype {
  return (['BF16', 'F16'] as const).find((dtype) => taps.some((tap) => tap.dtype === dtype)) ?? 'F32';
}

async function routingDrift(reference: DumpView, tested: DumpView, noise: DumpView | undefined) {
  const gather = async (other: DumpView): Promise<RoutingSums> => {
    const sums = new RoutingSums();
    const held = new Set(other.taps.map(({ name }) => name));
    for (const { name } of reference.taps)
      if (isRoutingTap(name) && held.has(name))
        for await (const [a, b] of commonRows([reference, other], name)) sums.add(a!, b!);
    return sums;
  };
  const own = await gather(tested);
  return own.report(noise === undefined ? undefined : await gather(noise));
}

function diffNotes(diff: DiffReport): string[] {
  const { notes, unpaired, notCaptured } = diff;
  const missing = unpaired.filter(({ tap }) => tap !== null).map(({ tap }) => tap!);
  const left = notCaptured.reduce((sum, { taps }) => sum + taps, 0) + missing.length;
  const { allowed, masked } = diff.nonFinite;
  return [
    ...notes,
    ...(allowed + masked === 0 ? [] : nonFiniteLines({ ...diff.nonFinite, counted: 0 }, 'values')),
    ...(left === 0
      ? []
      : [
          `${left} values are held by one side only${missing.length === 0 ? '' : `, first ${missing[0]}`}: ops next to them are judged over the values that both hold.`,
        ]),
  ];
}

/** What these inputs cannot tell. */
function cannotSay(model: string | undefined, noise: DumpView | undefined, flipped: number): string[] {
  const lines: string[] = [];
  if (model === undefined)
    lines.push(
      'Without --model no op can be recomputed: what an op errs by itself, which faults lie behind the first, and what share each has cannot be said.',
    );
  if (model === undefined && noise === undefined)
    lines.push(
      'Without --noise a deviation is judged by fixed thresholds (docs/locate.md), not by the noise of the dtype.',
    );
  if (flipped > 0)
    lines.push(
      'The tested program was not run: what would remain with routing pinned to the reference cannot be said.',
    );
  return lines;
}

function nextCommand(
  tap: string,
  { reference, tested, model }: { reference: DumpView; tested: DumpView; model: string | undefined },
): string {
  return model === undefined
    ? `zayascope locate ${reference.dir} ${tested.dir} --model MODEL`
    : `zayascope repro ${tested.dir} --model ${model} --op ${tap} --out repro`;
}
