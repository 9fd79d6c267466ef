import { toFloat32, toFloat64 } from '../../dump/float.js';
import type { TensorBatch } from '../../dump/reader.js';

/** How many of the most likely tokens are compared; fewer where the vocabulary is smaller. */
const TOP = 10;

/** Comparison of the next-token distributions at one position; logits in nats, all sums in float64. */
export interface TokenLogits {
  sequence: number;
  position: number;
  /**
   * KL(P_ref ‖ P_test) of the soft-maxes, in nats, 0 or more. Infinity where the tested side excludes what
   * the reference allows; NaN for logits of NaN or +Infinity.
   */
  kl: number;
  /**
   * Most likely token of each side; the lower id of two that tie. −1 where a logit of that side is NaN or
   * +Infinity: then there is none.
   */
  top1: { reference: number; tested: number };
  /**
   * How many of the reference's {@link TOP} most likely tokens are among the tested side's; 0 where a side
   * has none.
   */
  topShared: number;
  /** True if both sides list the same most likely tokens in the same order. */
  topSameOrder: boolean;
  /**
   * Distance of the best two logits on each side; Infinity for a vocabulary of one, NaN for logits of NaN or
   * +Infinity.
   */
  margin: { reference: number; tested: number };
  /**
   * Change of the probability of the reference's most likely token: tested minus reference; NaN where there
   * is none.
   */
  probabilityChange: number;
}

/** Comparison of `lm_head`. */
export interface LogitsReport {
  /** In file order. */
  tokens: TokenLogits[];
  /**
   * Tokens with a logit that is NaN or +Infinity on either side: none of theirs agree, and the KL over all
   * tokens is NaN.
   */
  nonFinite: number;
  /** Over all tokens; 0 without any. */
  klMean: number;
  klMax: number;
  /** Share of tokens whose most likely token is the same; 1 without any. */
  top1Agreement: number;
  /** Mean share of the reference's most likely tokens that the tested side has too; 1 without any. */
  topAgreement: number;
}

type Floats = Float32Array | Float64Array;

/** Rows of logits, shape [rows, V], and where they stand. */
export type LogitRows = Pick<TensorBatch, 'shape' | 'data' | 'dtype' | 'sequence' | 'position'>;

/** Accumulates a {@link LogitsReport}. */
export class LogitsComparison {
  readonly #tokens: TokenLogits[] = [];
  #vocabulary = 0;

  /** Adds rows of both sides, of the same shape. */
  add(reference: LogitRows, tested: LogitRows): void {
    const [rows, width] = reference.shape as [number, number];
    this.#vocabulary = width;
    const a = floatsOf(reference);
    const b = floatsOf(tested);
    for (let row = 0; row < rows; row++)
      this.#tokens.push({
        sequence: reference.sequence[row]!,
        position: reference.position[row]!,
        ...compareRow(a.subarray(row * width, (row + 1) * width), b.subarray(row * width, (row + 1) * width)),
      });
  }

  report(): LogitsReport {
    const tokens = this.#tokens;
    const mean = (term: (token: TokenLogits) => number): number =>
      tokens.reduce((sum, token) => sum + term(token), 0) / tokens.length;
    const some = tokens.length > 0;
    const top = Math.min(TOP, this.#vocabulary);
    return {
      tokens,
      nonFinite: tokens.filter(({ top1 }) => top1.reference < 0 || top1.tested < 0).length,
      klMean: some ? mean((token) => token.kl) : 0,
      klMax: tokens.reduce((most, { kl }) => Math.max(most, kl), 0),
      top1Agreement: some
        ? mean(({ top1 }) => (top1.reference === top1.tested && top1.tested >= 0 ? 1 : 0))
        : 1,
      topAgreement: some ? mean((token) => token.topShared / top) : 1,
    };
  }
}

function floatsOf({ data, dtype }: LogitRows): Floats {
  return dtype === 'F64' ? toFloat64(data, dtype) : toFloat32(data, dtype);
}

function compareRow(a: Floats, b: Floats): Omit<TokenLogits, 'sequence' | 'position'> {
  const [topA, topB] = [mostLikely(a), mostLikely(b)];
  if (topA.length === 0 || topB.length === 0)
    return {
      kl: Number.NaN,
      top1: { reference: topA[0] ?? -1, tested: topB[0] ?? -1 },
      topShared: 0,
      topSameOrder: false,
      margin: { reference: margin(a, topA), tested: margin(b, topB) },
      probabilityChange: Number.NaN,
    };
  const [maxA, maxB] = [a[topA[0]!]!, b[topB[0]!]!];
  let sumA = 0;
  let sumB = 0;
  let weighted = 0;
  for (let k = 0; k < a.length; k++) {
    const weight = Math.exp(a[k]! - maxA);
    sumA += weight;
    sumB += Math.exp(b[k]! - maxB);
    // A token of probability 0 adds nothing, whatever the other side thinks of it.
    if (weight !== 0) weighted += weight * (a[k]! - b[k]!);
  }
  const [logA, logB] = [maxA + Math.log(sumA), maxB + Math.log(sumB)];
  const kl = weighted / sumA - (logA - logB);
  const best = topA[0]!;
  return {
    // Rounding can leave a little less than nothing.
    kl: Math.max(0, kl),
    top1: { reference: best, tested: topB[0]! },
    topShared: topA.filter((token) => topB.includes(token)).length,
    topSameOrder: topA.every((token, place) => token === topB[place]),
    margin: { reference: margin(a, topA), tested: margin(b, topB) },
    probabilityChange: Math.exp(b[best]! - logB) - Math.exp(a[best]! - logA),
  };
}

/**
 * Ids of the {@link TOP} largest logits, from the largest; the lower id of two that tie first. None where a
 * logit is NaN or +Infinity, or all are −Infinity: soft-max gives such a row no probabilities, so no token is
 * likeliest.
 */
export function mostLikely(logits: Floats): number[] {
  const top: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const value = logits[id]!;
    if (Number.isNaN(value) || value === Number.POSITIVE_INFINITY) return [];
    if (top.length === TOP && value <= least) continue;
    let place = top.length;
    while (place > 0 && logits[top[place - 1]!]! < value) place--;
    top.splice(place, 0, id);
    if (top.length > TOP) top.pop();
    least = logits[top.at(-1)!]!;
  }
  return logits[top[0]!] === Number.NEGATIVE_INFINITY ? [] : top;
}

function margin(logits: Floats, top: readonly number[]): number {
  if (top.length === 0) return Number.NaN;
  return top.length < 2 ? Number.POSITIVE_INFINITY : logits[top[0]!]! - logits[top[1]!]!;
}
