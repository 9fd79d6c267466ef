/** What each op of a tested dump errs by itself, and what a right one may. */

import type { DumpView } from '../../dump/dump-view.js';
import { ZayascopeError } from '../../errors.js';
import { type Policy, policy as presetPolicy, type Setting } from '../../graph/policy.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { traceModel } from '../../models/runtime/trace.js';
import { tapPlace, tapSpan } from '../replay/tap-graph.js';
import { coarserNote, type NoiseUse, noiseUse, productSpans, SINGLE_FLOOR } from './dtypes/coarser-noise.js';
import { geluTaps, pooledFaults, spannedRoundings, USUAL } from './dtypes/pooled.js';
import type { HalfDtype } from './dtypes/rounding.js';
import { systematicFaults } from './dtypes/systematic.js';
import { type LocalError, type LocalOptions, localErrors } from './local.js';
import { type Mismatch, weightsMismatch } from './mismatch.js';
import { hasWeights, label, modelNotes, otherWeights } from './notes.js';
import { LEAST_LIMIT, LIMIT_FACTOR, UNMEASURED_LIMIT } from './ops.js';
import type { LocateOptions } from './options.js';
import type { PolicyRunners } from './runners.js';

/**
 * Recomputed in its own dtypes an op gives the dump's bits, but for sums in another order that fall on the
 * other side of a tie: an error of a unit in the last place, whose energy is 12 times that of rounding, in
 * the share of elements that is usual of the dtype.
 */
const FLIPPED_ULPS: Readonly<Record<HalfDtype, number>> = { BF16: 12 * USUAL.BF16, F16: 12 * USUAL.F16 };

/** The dumps of {@link ownErrors}. */
export interface OwnErrorDumps {
  reference: DumpView;
  tested: DumpView;
  noise: DumpView | undefined;
}

/** How {@link ownErrors} judges. */
export interface OwnErrorOptions {
  failAbove: number | undefined;
  /** Dtypes in which the tested dump's ops are recomputed. */
  base: Policy;
  /** True for the values that all dumps hold: the ends of the spans over which every dump is recomputed. */
  holds: (name: string) => boolean;
  /** As {@link LocateOptions.kept}. */
  kept?: LocateOptions['kept'];
}

/** What {@link ownErrors} gives. */
export interface OwnErrors {
  /** Of the tested dump's ops, by tap. */
  local: ReadonlyMap<string, LocalError>;
  /** Own errors that a right op of this tap makes, as measured or derived. */
  floors: (tap: string) => number[];
  /** Other weights than the model's in a dump; null where there is no sign of them. */
  mismatch: Mismatch | null;
  /**
   * Ops whose own error is small and systematic, with what would be usual (energy NMSE): see
   * `dtypes/pooled.ts` and `dtypes/systematic.ts`.
   */
  small: ReadonlyMap<string, number>;
  /**
   * The kinds of op that fail but for the noise run, which rounds where the tested program does not: without
   * their block, in execution order, with the largest own error.
   */
  coveredByNoise: ReadonlyMap<string, number>;
  /**
   * The first op of an F32 reference of transformers that is not what the model computes, and how many there
   * are: no right reference has one. Null for none.
   */
  referenceFault: { tap: string; nmse: number; count: number } | null;
  /** The half precision that the tested program rounds to; null: none. */
  half: HalfDtype | null;
  notes: string[];
}

/** Progress and cancelling of one part of the work. */
export type OwnErrorHooks = (what: string) => Pick<LocalOptions, 'signal' | 'onProgress'>;

/** In which dtypes the ops of a dump are recomputed, unless the user says. */
export function ownPolicy({ manifest }: DumpView): Policy {
  const { name } = manifest.policy;
  if (name === 'transformers-bfloat16') return presetPolicy('pytorch-bf16');
  return presetPolicy(name === 'transformers-float16' ? 'pytorch-f16' : 'f32');
}

/**
 * Own errors of the tested dump's ops, and those of dumps that count as right. A limit is measured as the
 * value is judged: all dumps are recomputed over the same spans, the noise under the policy that the tested
 * dump is recomputed with, and the reference too unless that policy rounds what the reference does not.
 */
export async function ownErrors(
  runners: PolicyRunners | undefined,
  { reference, tested, noise }: OwnErrorDumps,
  { failAbove, base, holds, kept }: OwnErrorOptions,
  run: OwnErrorHooks,
): Promise<OwnErrors> {
  if (runners === undefined)
    return {
      local: new Map(),
      floors: () => [],
      mismatch: null,
      small: new Map(),
      coveredByNoise: new Map(),
      referenceFault: null,
      half: null,
      notes: [],
    };
  const runner = await runners.use(base);
  const dumps = [reference, tested, ...(noise === undefined ? [] : [noise])];
  const notes = await modelNotes(runners.model!, dumps);
  const local = await localErrors(runner, tested, {
    right: 'computed',
    holds,
    systematic: noise !== undefined,
    spreads: ({ nmse }) => nmse > (failAbove ?? 1e-13),
    ...run('own error of each op'),
  });
  const measured: ReadonlyMap<string, LocalError>[] = [];
  const measure = async (dump: DumpView, policy: Policy, right: LocalOptions['right'], what: string) => {
    const held = dump.taps.map(({ name }) => name).filter(holds);
    const systematic = dump === noise;
    const key = JSON.stringify([runners.source.path, dump.dir, policy.rules, right, systematic, held]);
    const known = kept?.errors.get(key);
    if (known !== undefined) {
      measured.push(known);
      return;
    }
    try {
      const options = { right, holds, systematic, ...run(what) };
      const found = await localErrors(await runners.use(policy), dump, options);
      kept?.errors.set(key, found);
      measured.push(found);
    } catch (error) {
      if (!(error instanceof ZayascopeError && error.code === 'BAD_ARGUMENT')) throw error;
      notes.push(`${label(dump)} cannot tell the noise of ops: ${error.message}`);
    }
  };
  await measure(reference, base.name === 'f32' ? base : ownPolicy(reference), 'computed', 'noise of each op');
  const ofReference = measured[0];
  if (ofReference !== undefined && isImport(reference))
    measured[0] = withoutFaults(ofReference, runner.config);
  // A quantised file is no model of the reference: what its products err there is the quantisation, and no
  // noise. Ops that read no quantised weight are as right as with any file.
  const isQuantised = ofReference !== undefined && isGguf(runners) && mostlyWrong(ofReference);
  if (isQuantised && halfOf(ofReference, runner.config) !== null) measured.pop();
  else if (isQuantised) measured[0] = withoutFaults(ofReference, runner.config);
  // Of other weights the mismatch is told, of a quantised file that it is one.
  const isOwn = isSingle(reference) && (await hasWeights(runners.model!, reference));
  const referenceFault = isOwn && ofReference !== undefined ? faultOf(ofReference) : null;
  if (referenceFault !== null) measured[0] = withoutFaults(ofReference!, runner.config);
  const quiet = measured[0];
  const before = measured.length;
  if (noise !== undefined) await measure(noise, base, 'computed', 'low-precision noise of each op');
  if (measured.length > before && isImport(noise!))
    measured.push(withoutFaults(measured.pop()!, runner.config));
  const ofNoise = measured.length > before ? measured.at(-1)! : null;

  const setting = settingOf(base, runner.config);
  const isKnown = isSingle(tested);
  const halves = {
    tested: halfOf(local, runner.config),
    noise: ofNoise === null ? null : halfOf(ofNoise, runner.config),
  };
  const useOf = noiseUse({ local, ...halves, isKnown, config: runner.config });
  if (halves.noise !== null && halves.tested === null)
    notes.push(coarserNote(label(tested), label(noise!), halves.noise, isKnown));
  const half = noise === undefined && !roundsTaps(base) ? halves.tested : null;
  if (half !== null)
    notes.push(
      `Without --noise every op of ${label(tested)} may round to ${half}, as most of its values are.`,
    );
  const spanned = spannedRoundings(local.keys(), setting, runner.config);
  const hidden = noise === undefined ? spanned : new Set<string>();
  let derived: ReadonlyMap<string, LocalError> | undefined;
  if (half !== null || hidden.size > 0) {
    const policy = half === null ? base : presetPolicy(half === 'BF16' ? 'pytorch-bf16' : 'pytorch-f16');
    await measure(reference, policy, 'dump', 'roundings of each op');
    derived = measured.pop();
  }
  const floors = (name: string): number[] => {
    const own = local.get(name);
    if (own === undefined) return [];
    const use = useOf(name);
    const found = measured.flatMap((floor) =>
      floor === ofNoise && use !== 'all' ? [] : (floor.get(name)?.nmse ?? []),
    );
    if (use === 'single') found.push(SINGLE_FLOOR);
    const rounding = outputRounding(own, setting, half, isKnown);
    if (rounding > 0) found.push(rounding);
    // Inside an op a value that falls on the other side of a tie changes sums, and those many ties: nothing
    // less than all roundings is to be allowed.
    const table = isTableOfUnseen(name, local, setting, runner.config)
      ? FLIPPED_ULPS.F16 * own.rounding.F16
      : 0;
    if (table > 0) found.push(table);
    const inside = half !== null || hidden.has(name) ? derived?.get(name)?.nmse : undefined;
    return inside === undefined ? found : [...found, inside];
  };
  const mismatch = weightsMismatch(
    [
      {
        dump: reference,
        local: isQuantised ? new Map() : (ofReference ?? new Map()),
        fails: isWrong,
      },
      {
        dump: tested,
        local,
        fails: ({ tap, nmse }) => nmse > LIMIT_FACTOR * Math.max(...floors(tap.name), UNMEASURED_LIMIT),
      },
    ],
    await otherWeights(runners.model!, dumps),
    traceModel(runner.config).weighted,
  );
  const pooled = roundsTaps(base)
    ? pooledFaults({
        local,
        measured: isNoiseOf(base, noise) ? ofNoise : null,
        setting,
        leftOut: spanned,
        gelus: geluTaps(runner.config),
      })
    : new Map<string, number>();
  if (ofNoise !== null)
    for (const [name, usual] of systematicFaults(
      local,
      ofNoise,
      productSpans(local.keys(), runner.config),
      roundsTaps(base),
    ))
      pooled.set(name, Math.min(usual, pooled.get(name) ?? usual));
  const found = half ?? halves.tested;
  const covered = ofNoise !== null && found === null && !roundsTaps(base);
  return {
    local,
    floors,
    mismatch,
    small: pooled,
    coveredByNoise: covered ? coveredKinds(local, quiet, ofNoise, useOf) : new Map(),
    referenceFault,
    half: found,
    notes,
  };
}

/** True for a noise run that rounds as the policy says: what differs there is usual. */
export function isNoiseOf(base: Policy, noise: DumpView | undefined): boolean {
  return noise !== undefined && ownPolicy(noise).name === base.name;
}

/** Kinds of op whose own error is beyond what the reference's replay allows, and not beyond the noise's. */
function coveredKinds(
  local: ReadonlyMap<string, LocalError>,
  quiet: ReadonlyMap<string, LocalError> | undefined,
  noise: ReadonlyMap<string, LocalError>,
  useOf: (name: string) => NoiseUse,
): Map<string, number> {
  const kinds = new Map<string, number>();
  for (const [name, { tap, nmse }] of local) {
    if (tap.dtype === 'I32' || useOf(name) !== 'all') continue;
    if (nmse > LIMIT_FACTOR * (noise.get(name)?.nmse ?? 0)) continue;
    const own = quiet?.get(name)?.nmse;
    if (!(nmse > (own === undefined ? UNMEASURED_LIMIT : Math.max(LEAST_LIMIT, LIMIT_FACTOR * own))))
      continue;
    const { suffix } = tapPlace(name);
    kinds.set(suffix, Math.max(nmse, kinds.get(suffix) ?? 0));
  }
  return kinds;
}

/** True for values of a program that may be wrong itself. */
function isImport({ manifest: { producer } }: DumpView): boolean {
  return producer.importedBy !== undefined && producer.name !== 'transformers';
}

/**
 * What an op errs beyond F32 arithmetic in an import may be its fault, and is no measure; unless the import
 * is of a program that rounds to half precision.
 */
function withoutFaults(
  local: ReadonlyMap<string, LocalError>,
  config: ModelConfig,
): ReadonlyMap<string, LocalError> {
  if (halfOf(local, config) !== null) return local;
  return new Map([...local].filter(([, { nmse }]) => LIMIT_FACTOR * nmse <= UNMEASURED_LIMIT));
}

function isGguf({ model }: PolicyRunners): boolean {
  return model?.weights.source.layout.startsWith('gguf') === true;
}

function mostlyWrong(local: ReadonlyMap<string, LocalError>): boolean {
  const errors = [...local.values()].filter(({ nmse }) => nmse > 0);
  return errors.filter(isWrong).length > errors.length / 4;
}

/** Ops beyond what any dtype leaves; what is not finite is told by itself. */
function faultOf(local: ReadonlyMap<string, LocalError>): OwnErrors['referenceFault'] {
  const wrong = [...local].filter(
    ([, error]) => error.tap.dtype !== 'I32' && Number.isFinite(error.nmse) && isWrong(error),
  );
  const [first] = wrong;
  return first === undefined ? null : { tap: first[0], nmse: first[1].nmse, count: wrong.length };
}

/** True for a policy under which values are rounded. */
function roundsTaps({ rules }: Policy): boolean {
  return rules.some(({ sites, set }) => sites.includes('#round') && set !== 'none');
}

/** Beyond what any dtype leaves where a reference is recomputed in its own. */
function isWrong({ nmse, rounding, precision }: LocalError): boolean {
  return nmse > (precision === 'BF16' || precision === 'F16' ? 100 * rounding[precision] : 1e-7);
}

/** True for an F32 run of transformers, whose dump has every value in the dtype that it was computed in. */
function isSingle({ manifest }: DumpView): boolean {
  return manifest.policy.name === 'transformers-float32';
}

/**
 * Energy NMSE that the rounding of an op's output may leave between the dump and what is recomputed.
 * @param isInSingle half precision is an error there, and no way of storing.
 */
function outputRounding(
  { tap, rounding }: LocalError,
  setting: Setting,
  half: HalfDtype | null,
  isInSingle: boolean,
): number {
  if (tap.dtype === 'I32' || isInSingle) return 0;
  const stored = tap.dtype === 'BF16' || tap.dtype === 'F16' ? tap.dtype : null;
  const rounded = setting(`${tap.name}#round`) as 'none' | HalfDtype;
  if (rounded !== 'none' && (stored === null || stored === rounded))
    return FLIPPED_ULPS[rounded] * rounding[rounded];
  const dtype = stored ?? half;
  return dtype === null ? 0 : rounding[dtype];
}

/**
 * The half-width dtype of a program that rounds: most of its values that transformers would round are such as
 * it holds (a BF16 run may be stored in F32), or of a dump without such values those that are stored so. Rows
 * of the embedding tell nothing.
 */
function halfOf(local: ReadonlyMap<string, LocalError>, config: ModelConfig): HalfDtype | null {
  const rounded = settingOf(presetPolicy('pytorch-bf16'), config);
  const embedding = traceModel(config).taps[0]!.name;
  const stored = { BF16: 0, F16: 0, F32: 0 };
  const held = { BF16: 0, F16: 0, F32: 0 };
  for (const { tap, precision } of local.values()) {
    if (tap.name === embedding || precision === null) continue;
    stored[tap.dtype === 'BF16' || tap.dtype === 'F16' ? tap.dtype : 'F32']++;
    if (rounded(`${tap.name}#round`) !== 'none') held[precision]++;
  }
  const { BF16, F16, F32 } = held.BF16 + held.F16 + held.F32 > 0 ? held : stored;
  return BF16 + F16 > F32 ? (BF16 >= F16 ? 'BF16' : 'F16') : null;
}

/**
 * True for a GELU that is read from a table of F16 by a value that the dump does not hold: another order of
 * the sum before may round it to the next entry.
 */
function isTableOfUnseen(
  name: string,
  local: ReadonlyMap<string, LocalError>,
  setting: Setting,
  config: ModelConfig,
): boolean {
  if (!geluTaps(config).has(name) || setting(`${name}#form`) !== 'tanh') return false;
  const held = new Set(local.keys());
  return tapSpan(name, config.num_hidden_layers, held, false, config.model_type).inside.length > 1;
}
