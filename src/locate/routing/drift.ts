import { changedExperts } from '../../diff/routing.js';
import { toFloat32, toFloat64 } from '../../dump/float.js';
import { isMasked } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { FAMILIES } from '../../families/families.js';
import type { Family } from '../../families/family.js';
import { hasRole } from '../../families/roles.js';
import { noiseRatio } from '../faults/verdict.js';
import { tapPlace } from '../replay/tap-graph.js';
import {
  type BlockRows,
  describeFlip,
  firstPositions,
  type RoutingFlip,
  sameExperts,
  withoutSkipClass,
} from './flips.js';

/**
 * Routing of one block, and the error of its output over tokens that have kept their experts so far, and over
 * the others.
 */
export interface RoutingBlock {
  block: number;
  choices: number;
  flipped: number;
  /** Choices that a side made from scores that are not finite: neither the same nor flipped. */
  nonFinite: number;
  /**
   * Tokens that took the reference's expert in this block and all before (with a noise floor: in that run
   * too).
   */
  sameTokens: number;
  /**
   * Energy NMSE of the block's output over those tokens and over the others; 0 without such tokens, null
   * where outputs were not held.
   */
  sameNmse: number | null;
  flippedNmse: number | null;
  /** Noise ratio over the same tokens; null without a noise floor. */
  sameRatio: number | null;
}

/** What remains when each token is sent to the reference's expert. */
export interface PinnedRouting {
  /** Energy NMSE of the last value held, pinned and not. */
  finalNmse: number;
  freeNmse: number;
  /** Tokens that would have chosen another expert although all before were right. */
  flipped: number;
}

/** How routing drifts. */
export interface RoutingDrift {
  choices: number;
  flipped: number;
  /** Choices that a side made from scores that are not finite: neither the same nor flipped. */
  nonFinite: number;
  /** The first of those in execution order; null where there is none. */
  firstNonFinite: { block: number; sequence: number; position: number } | null;
  blocks: RoutingBlock[];
  /** In execution order, at most 1000. */
  flips: RoutingFlip[];
  /** null where the tested program was not run. */
  pinned: PinnedRouting | null;
}

const MAX_FLIPS = 1000;
/** Errors of biased probabilities vary from token to token. */
const CLOSE_FACTOR = 2;
/**
 * Those errors may be a fault's, and in a noise run those of tokens that see flipped ones: no wider margin is
 * called close. With a noise floor the errors were measured, so that more may pass.
 */
const WIDEST_CLOSE = { alone: 0.05, withNoise: 0.1 } as const;
/**
 * Rounding flips few tokens: of runs in which more do, or three times as many as in the noise run, no flip is
 * called close.
 */
const MOST_CLOSE = 0.1;
const MOST_OF_NOISE = 3;
/** Fewer choices have no share to speak of. */
const LEAST_CHOICES = 32;

const ROUTING_ROLES = ['residual', 'router.expert', 'router.probabilities'] as const;

/** True for the values that {@link RoutingSums} wants. */
export function isRoutingTap(name: string, family: Family): boolean {
  return ROUTING_ROLES.some((role) => hasRole(family, role, name));
}

/** Gathers what tells how routing drifts: a few numbers a token and block. */
export class RoutingSums {
  readonly #blocks = new Map<number, BlockRows>();
  readonly #family: Family;

  /** @param family whose taps they are; default the first. */
  constructor(family: Family = FAMILIES[0]!) {
    this.#family = family;
  }

  /** Adds rows of a tap for which {@link isRoutingTap} holds, the same of both sides. */
  add(reference: TensorBatch, tested: TensorBatch): void {
    const { name } = reference.tap;
    const { block } = tapPlace(name);
    let rows = this.#blocks.get(block!);
    if (rows === undefined) {
      rows = { experts: new Map(), biased: new Map(), outputs: new Map() };
      this.#blocks.set(block!, rows);
    }
    const count = reference.shape[0]!;
    const width = reference.data.length / count;
    // A program without the skip class has fewer.
    const others = tested.data.length / count;
    const masked = isMasked(reference.tap) || isMasked(tested.tap);
    const isExpert = hasRole(this.#family, 'router.expert', name);
    if (hasRole(this.#family, 'residual', name)) {
      addOutputs(rows, reference, tested);
      return;
    }
    const a = toFloat64(reference.data, reference.dtype);
    const b = toFloat64(tested.data, tested.dtype);
    for (let row = 0; row < count; row++) {
      const key = rowKey(reference, row);
      if (isExpert) rows.experts.set(key, [rowOf(a, row, width), rowOf(b, row, others)]);
      else {
        const values = a.subarray(row * width, (row + 1) * width);
        let error = 0;
        for (let k = 0; k < Math.min(width, others); k++) {
          const other = b[row * others + k]!;
          // The same infinity of a value that is masked is by design; any other makes the choice worthless.
          if (masked && values[k] === other) continue;
          error = Math.max(error, Math.abs(values[k]! - other));
          if (!Number.isFinite(values[k]! + other)) error = Number.NaN;
        }
        rows.biased.set(key, { values, error });
      }
    }
  }

  /**
   * null where no block's experts were added. @param noise the same of the reference's own low-precision run.
   */
  report(noise?: RoutingSums): Omit<RoutingDrift, 'pinned'> | null {
    const blocks: RoutingBlock[] = [];
    const flips: RoutingFlip[] = [];
    let [choices, flipped, nonFinite] = [0, 0, 0];
    let firstNonFinite: RoutingDrift['firstNonFinite'] = null;
    const gone = new Set<string>();
    const goneInNoise = new Set<string>();
    const numbers = [...this.#blocks.keys()].filter((block) => this.#blocks.get(block)!.experts.size > 0);
    const widest = this.#flipTooMany(noise)
      ? 0
      : noise === undefined
        ? WIDEST_CLOSE.alone
        : WIDEST_CLOSE.withNoise;
    for (const block of numbers.sort((a, b) => a - b)) {
      const rows = this.#blocks.get(block)!;
      const noiseRows = noise === undefined ? undefined : noise.#blocks.get(block);
      const isScored = (key: string): boolean => Number.isFinite(rows.biased.get(key)?.error ?? 0);
      const found = [...rows.experts].filter(([key, taken]) => !sameExperts(taken) && isScored(key));
      let unscored = 0;
      for (const [key, [mine]] of rows.experts) {
        if (isScored(key)) continue;
        unscored += mine.length;
        gone.add(key);
        const [sequence, position] = key.split(' ').map(Number) as [number, number];
        firstNonFinite ??= { block, sequence, position };
      }
      let flippedHere = 0;
      const clean = largestCleanError(noiseRows ?? rows, noiseRows === undefined ? gone : goneInNoise);
      const firstGone = firstPositions(gone);
      for (const [key, [mine, others]] of found)
        for (const change of changedExperts(mine, others)) {
          flippedHere++;
          if (flips.length < MAX_FLIPS)
            flips.push(
              describeFlip(
                block,
                key,
                change,
                rows,
                { clean, close: Math.min(widest, 2 * CLOSE_FACTOR * clean) },
                gone,
                firstGone,
              ),
            );
        }
      for (const [key] of found) gone.add(key);
      for (const [key, taken] of noiseRows?.experts ?? []) if (!sameExperts(taken)) goneInNoise.add(key);
      const choicesHere = [...rows.experts.values()].reduce((sum, [mine]) => sum + mine.length, 0);
      choices += choicesHere;
      flipped += flippedHere;
      nonFinite += unscored;
      blocks.push({
        block,
        choices: choicesHere,
        flipped: flippedHere,
        nonFinite: unscored,
        ...outputErrors(rows, gone, noiseRows, goneInNoise),
      });
    }
    if (blocks.length === 0) return null;
    return {
      choices,
      flipped,
      nonFinite,
      firstNonFinite,
      blocks,
      flips: this.#family.hasSkipClass ? withoutSkipClass(flips, [...this.#blocks.values()]) : flips,
    };
  }

  /** True where more tokens take another expert than rounding explains. */
  #flipTooMany(noise: RoutingSums | undefined): boolean {
    const own = this.#flips();
    const usual = noise === undefined ? { flipped: 0, choices: 1 } : noise.#flips();
    const most = Math.max(MOST_CLOSE, (MOST_OF_NOISE * usual.flipped) / Math.max(1, usual.choices));
    return own.choices >= LEAST_CHOICES && own.flipped > most * own.choices;
  }

  #flips(): { flipped: number; choices: number } {
    const pairs = [...this.#blocks.values()].flatMap(({ experts }) => [...experts.values()]);
    return { flipped: pairs.filter((pair) => !sameExperts(pair)).length, choices: pairs.length };
  }
}

function rowOf(values: Float64Array, row: number, width: number): readonly number[] {
  return [...values.subarray(row * width, (row + 1) * width)];
}

/** Experts of one side, over all rows, that the other does not take. */
export function changedChoices(reference: TensorBatch, tested: TensorBatch): number {
  const rows = reference.shape[0]!;
  const [a, b] = [toFloat64(reference.data, reference.dtype), toFloat64(tested.data, tested.dtype)];
  const [width, others] = [a.length / rows, b.length / rows];
  let changed = 0;
  for (let row = 0; row < rows; row++)
    changed += changedExperts(rowOf(a, row, width), rowOf(b, row, others)).length;
  return changed;
}

/** Largest error of the biased probabilities of tokens that have always taken the reference's expert. */
function largestCleanError({ experts, biased }: BlockRows, gone: ReadonlySet<string>): number {
  let largest = 0;
  for (const [key, { error }] of biased) {
    const taken = experts.get(key);
    if (taken !== undefined && sameExperts(taken) && !gone.has(key) && Number.isFinite(error))
      largest = Math.max(largest, error);
  }
  return largest;
}

function outputErrors(
  rows: BlockRows,
  gone: ReadonlySet<string>,
  noise: BlockRows | undefined,
  goneInNoise: ReadonlySet<string>,
): Pick<RoutingBlock, 'sameTokens' | 'sameNmse' | 'flippedNmse' | 'sameRatio'> {
  const isSame = (key: string) => !gone.has(key) && !goneInNoise.has(key);
  const sameTokens = [...rows.experts.keys()].filter(isSame).length;
  if (rows.outputs.size === 0) return { sameTokens, sameNmse: null, flippedNmse: null, sameRatio: null };
  const sameNmse = nmseOver(rows, isSame);
  return {
    sameTokens,
    sameNmse,
    flippedNmse: nmseOver(rows, (key) => !isSame(key)),
    sameRatio: noise === undefined ? null : noiseRatio(sameNmse, nmseOver(noise, isSame)),
  };
}

function nmseOver({ outputs }: BlockRows, wanted: (key: string) => boolean): number {
  let [error, size] = [0, 0];
  for (const [key, energies] of outputs)
    if (wanted(key)) {
      error += energies[0];
      size += energies[1];
    }
  if (error === 0) return 0;
  return size === 0 ? Number.POSITIVE_INFINITY : error / size;
}

function addOutputs({ outputs }: BlockRows, reference: TensorBatch, tested: TensorBatch): void {
  const [a, b] = [toFloat32(reference.data, reference.dtype), toFloat32(tested.data, tested.dtype)];
  const width = a.length / reference.shape[0]!;
  for (let row = 0; row < reference.shape[0]!; row++) {
    let [error, size] = [0, 0];
    for (let k = row * width; k < (row + 1) * width; k++) {
      const difference = a[k]! - b[k]!;
      error += difference * difference;
      size += a[k]! * a[k]!;
    }
    outputs.set(rowKey(reference, row), [Number.isNaN(error) ? Number.POSITIVE_INFINITY : error, size]);
  }
}

function rowKey({ sequence, position }: TensorBatch, row: number): string {
  return `${sequence[row]} ${position[row]}`;
}
