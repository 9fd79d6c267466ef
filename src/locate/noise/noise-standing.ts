/**
 * Whether a dump can stand for noise: a run of the reference itself in low precision. One that errs as the
 * tested dump does, or not at all, measures nothing: every limit would be the tested dump's own error.
 */
import { basename, resolve } from 'node:path';
import type { DumpView } from '../../dump/dump-view.js';
import { ZayascopeError } from '../../errors.js';
import type { TapNoise } from './noise-floor.js';

/**
 * Two errors of a value are alike where the cosine between them is at least this, and the larger at most
 * `ratio` times the smaller. Roundings of two programs give cosines around 0.
 */
const ALIKE = { cosine: 0.9, ratio: 1.5 } as const;
/** Share of the values in which errors must be alike for a dump to be no noise. */
const MOST = 0.5;
/** Fewer values prove nothing. */
const LEAST_VALUES = 4;

/** How the error of one value in the noise run lies to that in the tested dump. */
export interface ErrorPair {
  /** Sums of squares, and of the product, of the finite ones. */
  low: number;
  tested: number;
  product: number;
  /** True where all bits are the same. */
  isSameAsReference: boolean;
  isSameAsTested: boolean;
}

/** Accumulates an {@link ErrorPair} of one value. */
export class ErrorPairSums {
  readonly #sums: ErrorPair = {
    low: 0,
    tested: 0,
    product: 0,
    isSameAsReference: true,
    isSameAsTested: true,
  };

  add(reference: Float32Array, low: Float32Array, tested: Float32Array): void {
    const sums = this.#sums;
    for (let k = 0; k < reference.length; k++) {
      if (!Object.is(low[k], reference[k])) sums.isSameAsReference = false;
      if (!Object.is(low[k], tested[k])) sums.isSameAsTested = false;
      const [a, b] = [low[k]! - reference[k]!, tested[k]! - reference[k]!];
      if (!Number.isFinite(a * b)) continue;
      sums.low += a * a;
      sums.tested += b * b;
      sums.product += a * b;
    }
  }

  pair(): ErrorPair {
    return { ...this.#sums };
  }
}

/**
 * True of a run of the same program as the reference's, by its own producer, of a capture in transformers'
 * dtypes, and of a noise floor. An import may be of anything.
 */
export function isOwnRun(reference: DumpView, other: DumpView): boolean {
  const [{ producer: a }, { producer: b, policy, noise }] = [reference.manifest, other.manifest];
  if (b.importedBy !== undefined) return false;
  if (noise !== undefined) return true;
  return (
    (a.importedBy === undefined && a.name === b.name) ||
    (b.name === 'zayascope' && policy.name.startsWith('pytorch-'))
  );
}

/** What to pass instead. */
const INSTEAD =
  "Pass the reference's own run in low precision (`dumps/reference/dump.py --dtype bfloat16` of the same tokens), or none";

/**
 * Refuses a noise dump that is the tested one or the reference, by folder.
 * @throws `BAD_ARGUMENT`.
 */
export function requireOtherFolder(op: string, reference: DumpView, low: DumpView, tested?: DumpView): void {
  const folder = resolve(low.dir);
  if (tested !== undefined && folder === resolve(tested.dir))
    throw refusal(op, 'the tested dump itself, whose every error would be within its limit', low);
  if (folder === resolve(reference.dir)) throw refusal(op, 'the reference itself, which has none', low);
}

/**
 * Refuses a noise dump whose values are the reference's, or which is not of the reference's program and errs
 * as the tested dump does.
 * @throws `BAD_ARGUMENT`.
 */
export function requireNoise(
  op: string,
  reference: DumpView,
  low: DumpView,
  pairs: readonly ErrorPair[],
): void {
  if (pairs.length === 0) return;
  const count = `all ${pairs.length} values`;
  if (pairs.every(({ isSameAsReference }) => isSameAsReference))
    throw refusal(op, `a dump that has the reference's own bits in ${count}`, low);
  if (isOwnRun(reference, low)) return;
  if (pairs.every(({ isSameAsTested }) => isSameAsTested))
    throw refusal(op, `a dump that has the tested dump's own bits in ${count}`, low);
  const judged = pairs.filter((pair) => pair.low > 0 && pair.tested > 0);
  const alike = judged.filter(areAlike);
  if (judged.length >= LEAST_VALUES && alike.length >= MOST * judged.length)
    throw refusal(
      op,
      `${origin(low)} that errs as the tested dump does in ${alike.length} of ${judged.length} values: what is wrong in both would be within the limit`,
      low,
    );
}

function areAlike({ low, tested, product }: ErrorPair): boolean {
  const ratio = Math.sqrt(tested / low);
  return product >= ALIKE.cosine * Math.sqrt(low * tested) && Math.max(ratio, 1 / ratio) <= ALIKE.ratio;
}

function origin({ manifest: { producer } }: DumpView): string {
  return producer.importedBy === undefined ? `a run of ${producer.name}` : `an import of ${producer.name}`;
}

function refusal(op: string, got: string, low: DumpView): ZayascopeError {
  return new ZayascopeError(
    'BAD_ARGUMENT',
    `${op}: expected a noise dump that measures the reference's rounding, got ${got} (${low.dir}). ${INSTEAD}`,
    { op },
  );
}

/** What a reader must know of a noise dump that is used. @param errors of {@link noiseFloor}. */
export function standingNotes(
  reference: DumpView,
  low: DumpView | undefined,
  errors: readonly Pick<TapNoise, 'ratio' | 'bhattacharyya'>[] = [],
): string[] {
  if (low === undefined) return [];
  const name = basename(resolve(low.dir));
  if (isOwnRun(reference, low))
    return isSameError(errors)
      ? [
          `The tested dump errs as ${name} does, to the bit: all that it does otherwise than the reference is within that noise.`,
        ]
      : [];
  return low.manifest.producer.importedBy === undefined
    ? []
    : [
        `NOISE OF ANOTHER PROGRAM: ${name} is an import of ${low.manifest.producer.name}, and no run of the reference in low precision. What that program does wrong counts as usual here. ${INSTEAD}.`,
      ];
}

/** True where the tested side errs in every value as the noise does, and in some at all. */
function isSameError(errors: readonly Pick<TapNoise, 'ratio' | 'bhattacharyya'>[]): boolean {
  const erring = errors.filter(({ ratio }) => ratio !== 0);
  return (
    erring.length > 0 && erring.every(({ ratio, bhattacharyya }) => ratio === 1 && bhattacharyya > 1 - 1e-12)
  );
}
