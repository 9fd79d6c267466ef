import { basename, resolve } from 'node:path';
import { nonFiniteLines } from '../../diff/format/non-finite.js';
import type { DiffReport } from '../../diff/report.js';
import type { DumpView } from '../../dump/dump-view.js';
import { UNKNOWN } from '../../dump/import/foreign.js';
import { sequenceLengths } from '../../dump/sequences.js';
import type { Family } from '../../families/family.js';
import type { Policy } from '../../graph/policy.js';
import type { Model } from '../../models/runtime/model.js';
import { formatError } from '../../text-table.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import { weightsSha256 } from '../../weights/identity.js';
import type { TapNoise } from '../noise/noise-floor.js';
import { opWords } from './plain-words.js';
import type { LocateReport } from './report.js';

/** Name of a dump's folder. */
export function label(dump: DumpView): string {
  return basename(resolve(dump.dir));
}

/**
 * Dumps whose manifests name other weights than the model's. A quantised or renamed copy has another
 * identity, though it may be the same model; an imported dump has none.
 */
export async function otherWeights<D extends Pick<DumpView, 'manifest'>>(
  { weights }: Model,
  dumps: readonly D[],
): Promise<D[]> {
  const own = await identityOf(weights.checkpoint);
  return dumps.filter(({ manifest }) => {
    const { layout = 'transformers', weightsSha256: theirs } = manifest.model;
    return (
      theirs !== own &&
      theirs !== UNKNOWN &&
      layout.startsWith('gguf') === weights.source.layout.startsWith('gguf')
    );
  });
}

/** True where a dump's manifest says that it ran the model's very weights. */
export async function hasWeights(
  { weights }: Model,
  { manifest }: Pick<DumpView, 'manifest'>,
): Promise<boolean> {
  return manifest.model.weightsSha256 === (await identityOf(weights.checkpoint));
}

const identities = new WeakMap<Checkpoint, Promise<string>>();

/** Read once for each checkpoint. */
function identityOf(checkpoint: Checkpoint): Promise<string> {
  const known = identities.get(checkpoint) ?? weightsSha256(checkpoint);
  identities.set(checkpoint, known);
  return known;
}

/** Which dumps are partial. */
export function partialNotes(dumps: readonly Pick<DumpView, 'dir' | 'manifest'>[]): string[] {
  return dumps.flatMap(({ dir, manifest }) =>
    manifest.status === 'partial'
      ? [`${basename(resolve(dir))} is partial: its producer did not finish.`]
      : [],
  );
}

/**
 * Names values of which there is nothing to compare, though both dumps list them: files that were not
 * written.
 */
export function withoutRowsNotes(reports: readonly { name: string; rows: number }[]): string[] {
  const without = reports.filter(({ rows }) => rows === 0);
  return without.length === 0
    ? []
    : [
        `Nothing is said of ${without.length} of ${reports.length} values that both dumps list: they have no row of them in common (first ${without[0]!.name}).`,
      ];
}

/** Says how many tokens of a side the other lacks: what stands there is not compared. */
export function partnerNotes(
  reference: DumpView,
  tested: DumpView,
  reports: readonly { name: string; rows: number }[],
): string[] {
  const perToken = new Set(reference.taps.filter(({ scope }) => scope === 'token').map(({ name }) => name));
  const paired = reports.reduce((most, { name, rows }) => Math.max(most, perToken.has(name) ? rows : 0), 0);
  const count = ({ manifest }: DumpView) =>
    sequenceLengths(manifest.sequences).reduce((sum, length) => sum + length, 0);
  const [theirs, own] = [count(reference), count(tested)];
  if (paired === Math.max(theirs, own)) return [];
  const lacks = (dump: DumpView, all: number) => `${all - paired} of ${all} tokens of ${label(dump)}`;
  const sides = [
    ...(paired < theirs ? [lacks(reference, theirs)] : []),
    ...(paired < own ? [lacks(tested, own)] : []),
  ];
  return [
    `${sides.join(' and ')} have no partner (same sequence, position and id) in the other dump: only ${paired} are compared.`,
  ];
}

/** Says where another program's values count as right, and may not be. */
export function referenceNotes(reference: DumpView): string[] {
  const { importedBy, name } = reference.manifest.producer;
  return importedBy === undefined || name === 'transformers'
    ? []
    : [
        `The reference (${label(reference)}) is an import of ${name}, and no run of transformers: what it does wrong counts as right. dumps/reference/dump.py makes a reference of the checkpoint.`,
      ];
}

/**
 * What a reader must know about a model and the dumps it is compared with: which were made with other
 * weights.
 */
export async function modelNotes(
  model: Model,
  dumps: readonly Pick<DumpView, 'dir' | 'manifest'>[],
): Promise<string[]> {
  const others = await otherWeights(model, dumps);
  return others.map(
    ({ dir }) => `DIFFERENT WEIGHTS: ${basename(resolve(dir))} was made with other weights than the model's.`,
  );
}

/** What to say of a noise floor that is not finite. */
export function noiseNotes(noise: readonly TapNoise[]): string[] {
  const lost = noise.filter(({ nonFinite }) => nonFinite.noise > 0);
  if (lost.length === 0) return [];
  return [
    `The noise floor is NaN or infinite in ${lost.length} of ${noise.length} values, first ${lost[0]!.tap}: they are judged as without it.`,
  ];
}

/** Says that of a noise floor one run is used. */
export function singleRunNotes(noise: DumpView | undefined): string[] {
  return noise?.manifest.noise === undefined
    ? []
    : [
        `Of ${label(noise)} only the first run is used: capture the policy, and compare the dump with --noise.`,
      ];
}

/** Says what a noise run in lower precision than the tested program's hides. */
export function coveredNotes(
  tested: DumpView,
  noise: DumpView | undefined,
  covered: ReadonlyMap<string, number>,
  family: Family,
): string[] {
  const [first] = covered;
  if (first === undefined || noise === undefined) return [];
  const count = covered.size === 1 ? '1 kind of op is' : `${covered.size} kinds of op are`;
  return [
    `${label(noise)} rounds where ${label(tested)} does not: ${count} within that noise, and beyond what F32 arithmetic errs (first ${opWords(first[0], family).name}, by ${formatError(first[1])}). Without --noise ${covered.size === 1 ? 'it is' : 'they are'} judged.`,
  ];
}

/** Name of the policy under which a GGUF file's matrices keep their types. */
export const AS_STORED = 'weights as stored in the file';

/**
 * Energy NMSE that gathers in the last value of a right program by rounding: in F32, and in half precision
 * where a few tokens take other experts.
 */
const GATHERS = { single: 1e-6, half: 0.1 } as const;

/**
 * What a silent report says of a large error at the end.
 * @param given the policy that the user says the tested program has.
 * @param stored the types of weights that it was recomputed with, where they are no F32.
 */
export function unexplained(
  { tap, nmse, noise }: LocateReport['final'],
  rounds: boolean,
  given: Policy | undefined,
  stored: string | null,
): string[] {
  const isLarge =
    noise === null ? nmse > (rounds ? GATHERS.half : GATHERS.single) : noise.verdict === 'broken';
  if (isLarge && given !== undefined && given.name !== 'f32')
    return [
      `Every op does what policy ${given.name} says: what it chooses otherwise than the reference makes the error of ${tap}.`,
    ];
  if (isLarge && stored !== null)
    return [
      `Every op is right with ${stored}: these types, and what is rounded to match them, make the error of ${tap}.`,
    ];
  return isLarge
    ? [
        `No op that was judged makes the error of ${tap}: it comes from outside them (inputs, weights, ops that no dump holds, what follows the last tap) or from experts chosen otherwise${noise === null ? ', or rounding gathers it, which --noise would tell' : ''}.`,
      ]
    : [];
}

/** What the comparison of two dumps notes, and values that one side only holds. */
export function diffNotes(diff: DiffReport): string[] {
  const { notes, unpaired, notCaptured } = diff;
  const missing = unpaired.filter(({ tap }) => tap !== null).map(({ tap }) => tap!);
  const left = notCaptured.reduce((sum, { taps }) => sum + taps, 0) + missing.length;
  const { allowed, masked } = diff.nonFinite;
  return [
    // said first, by name
    ...notes.filter((note) => !/^The (reference|tested) dump is partial/.test(note)),
    ...(allowed + masked === 0 ? [] : nonFiniteLines({ ...diff.nonFinite, counted: 0 }, 'values')),
    ...(left === 0
      ? []
      : [
          `${left} values are held by one side only${missing.length === 0 ? '' : `, first ${missing[0]}`}: ops next to them are judged over the values that both hold.`,
        ]),
  ];
}

/** Values that the noise run lacks. */
export function lackingNotes(reports: readonly { name: string }[], noise: DumpView | undefined): string[] {
  if (noise === undefined) return [];
  const held = new Set(noise.taps.map(({ name }) => name));
  const missing = reports.filter(({ name }) => !held.has(name));
  return missing.length === 0
    ? []
    : [
        `${label(noise)} lacks ${missing.length} of ${reports.length} values, first ${missing[0]!.name}: ops are judged over the values that all three dumps hold.`,
      ];
}

/** What these inputs cannot tell. */
export function cannotSay(model: string | undefined, noise: DumpView | undefined, flipped: number): string[] {
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
