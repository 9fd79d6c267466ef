import type { DumpView } from '../../dump/dump-view.js';
import { type Policy, requireNearest } from '../../graph/policy.js';
import { openModelSource } from '../../models/layout/source.js';
import { errorOf } from './evidence.js';
import { measureDumps } from './forms/dumps.js';
import type { LocateCall, Measured } from './forms/measured.js';
import { measurePolicy } from './forms/policy.js';
import { locateOps } from './ops.js';
import type { LocateOptions } from './options.js';
import type { LocateReport } from './report.js';
import { PolicyRunners } from './runners.js';

/**
 * Finds out which ops make error of their own. Of a tested dump each op is recomputed from the dump's own
 * inputs, without running the program that made it, in F32 or in the dtypes of `recompute`; what an op may
 * err is measured on the reference in the same way, and on `noise` where given. Without a model only errors
 * that have gathered can be told, and where they begin. Of a policy the reference's tokens are run as they
 * are and as an isolated replay, under the policy and under `f32`, which tells what each op's noise is; and,
 * where the policy differs from `f32` in few kinds of choice, each choice alone.
 *
 * @param tested a dump of another run, or the policy to run the model under.
 * @param model folder or file of the checkpoint that both ran; undefined: none at hand.
 * @throws `BAD_ARGUMENT` for a dump that cannot be replayed (see `replay`), and for a policy without a model;
 * `UNPAIRED` for dumps that have no value in common; as `openModel`; `CANCELLED`.
 */
export async function locate(
  reference: DumpView,
  tested: DumpView | Policy,
  model: string | undefined,
  options: LocateOptions = {},
): Promise<LocateReport> {
  const dtypes = isPolicy(tested) ? tested : options.recompute;
  if (dtypes !== undefined) requireNearest('locate', dtypes);
  const source = model === undefined ? undefined : await openModelSource(model);
  const { kept, backend, threads, strictF32, fusion, repack, onProgress, signal } = options;
  const open = { backend, threads, strictF32, fusion, repack };
  using owned = source === undefined || kept !== undefined ? undefined : new PolicyRunners(source, open);
  const call: LocateCall = {
    reference,
    model,
    source,
    runners: source === undefined ? undefined : (kept?.runners(source, open) ?? owned),
    options,
    run: (what) => ({ signal, onProgress: (done, total) => onProgress?.(what, done, total) }),
  };
  const measured = isPolicy(tested) ? await measurePolicy(tested, call) : await measureDumps(tested, call);
  return 'format' in measured ? measured : await judge(measured);
}

/** {@link locate} of a tested dump. */
export function locateDumps(
  reference: DumpView,
  tested: DumpView,
  model: string | undefined,
  options: LocateOptions = {},
): Promise<LocateReport> {
  return locate(reference, tested, model, options);
}

/** {@link locate} of a policy. */
export function locatePolicy(
  reference: DumpView,
  model: string,
  tested: Policy,
  options: LocateOptions = {},
): Promise<LocateReport> {
  return locate(reference, tested, model, options);
}

function isPolicy(tested: DumpView | Policy): tested is Policy {
  return 'rules' in tested;
}

/** What both forms make of what they measured: which ops fail, where that begins, in words, the report. */
async function judge(measured: Measured): Promise<LocateReport> {
  const { header, evidence, judging, local } = measured;
  const located = locateOps(evidence, judging);
  const unseen = await measured.unseen(located.ops);
  const ops = located.ops.map((op) =>
    unseen?.taps.has(op.tap) ? { ...op, verdict: 'not judged' as const } : op,
  );
  const gathered = await measured.begin(ops.filter(({ verdict }) => verdict === 'fault'));
  const faults = gathered.faults.filter(({ tap }) => !unseen?.taps.has(tap));
  const { nonFinite, shares } = located;
  const last = evidence.get(located.final)!;
  const final = {
    tap: located.final,
    nmse: errorOf(last.cumulative),
    floorNmse: measured.floorNmse(located.final),
    noise: last.noise ?? null,
  };
  const conclusion = await measured.conclude({
    kinds: {
      mode: header.mode,
      faults,
      blocks: judging.blocks,
      family: judging.family,
      nonFinite,
      shares,
      local,
      explained: new Map(),
      causes: [],
      begins: gathered.begins,
      within: gathered.within,
      steps: gathered.steps,
      next: measured.next,
    },
    ops,
    final,
    unseen,
  });
  return {
    ...header,
    mismatch: null,
    otherFile: null,
    unjudged: null,
    firstFault: nonFinite?.tap ?? faults[0]?.tap ?? conclusion.unpairedNonFinite?.first?.tap ?? null,
    nonFinite,
    unpairedNonFinite: null,
    unfit: [],
    final,
    choices: [],
    bisect: null,
    ops,
    noiseByTap: measured.noiseByTap,
    floor: null,
    ...conclusion,
  };
}
