import { badArgument, ZayascopeError } from '../errors.js';
import { seededRandom } from './random.js';

const OP = 'sampler';

/** How the next token is drawn. Without any of the first three: the likeliest token, always. */
export interface SamplingOptions {
  /** Logits are divided by it; 1 leaves them as they are. Greater than 0. Default 1 when sampling. */
  temperature?: number;
  /** Only this many of the likeliest tokens; at least 1. Default: all. */
  topK?: number;
  /** Only the fewest likeliest tokens that together have this probability; in (0, 1]. Default 1. */
  topP?: number;
  /** Of the random numbers, see `random.ts`: an integer from 0 to 2^32 - 1. Default 0. */
  seed?: number;
}

/**
 * Chooses a token given its logits, F32 [V]. Throws `BACKEND` for logits with NaN or +Infinity, or without a
 * finite one.
 */
export type Sampler = (logits: Float32Array) => number;

/**
 * The likeliest token; of equal ones the first, as transformers and torch's argmax do. Throws as {@link
 * Sampler}.
 */
export const greedy: Sampler = (logits) => {
  let best = -1;
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const value = logits[id]!;
    if (value > largest) {
      best = id;
      largest = value;
    } else if (Number.isNaN(value)) throw badLogit(id, value);
  }
  if (best < 0 || largest === Number.POSITIVE_INFINITY) throw badLogit(best, largest);
  return best;
};

/**
 * A sampler with the filters in transformers' order: temperature, then top-k, then top-p over what is left.
 * Equal logits rank by id. The state of the random numbers lives in the sampler: make a new one for each
 * sequence.
 *
 * @throws `BAD_ARGUMENT` for an option out of range.
 */
export function sampler(options: SamplingOptions): Sampler {
  const { temperature = 1, topK = Number.POSITIVE_INFINITY, topP = 1, seed = 0 } = options;
  check('temperature', 'a number above 0', temperature, temperature > 0 && Number.isFinite(temperature));
  check('topK', 'an integer from 1 on', topK, topK >= 1 && (Number.isInteger(topK) || topK === Infinity));
  check('topP', 'a number above 0 and up to 1', topP, topP > 0 && topP <= 1);
  check('seed', 'an integer from 0 to 2^32 - 1', seed, Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32);
  const random = seededRandom(seed);
  return (logits) => {
    const largest = logits[greedy(logits)]!;
    const { ids, weights } = nucleus(topCandidates(logits, topK), logits, largest, temperature, topP);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = random() * total;
    for (let rank = 0; rank < ids.length; rank++) {
      left -= weights[rank]!;
      if (left < 0) return ids[rank]!;
    }
    return ids[ids.length - 1]!; // rounding of the sum
  };
}

/** Ids of the `most` largest logits, ascending; of those that equal the smallest kept one, the first. */
function topCandidates(logits: Float32Array, most: number): Uint32Array {
  if (most >= logits.length) return Uint32Array.from(logits.keys());
  // A typed array sorts natively, which takes milliseconds; sorting ids by their logits takes ten times as
  // long.
  const bound = logits.slice().sort()[logits.length - most]!;
  let ties = most - logits.reduce((count, value) => count + Number(value > bound), 0);
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++)
    if (logits[id]! > bound || (logits[id]! === bound && ties-- > 0)) ids.push(id);
  return Uint32Array.from(ids);
}

/**
 * The likeliest candidates that together reach `topP`, likeliest first, with weights proportional to their
 * probabilities.
 */
function nucleus(
  candidates: Uint32Array,
  logits: Float32Array,
  largest: number,
  temperature: number,
  topP: number,
): { ids: Uint32Array; weights: Float64Array } {
  const weigh = (id: number): number => Math.exp((logits[id]! - largest) / temperature);
  const all = Float64Array.from(candidates, weigh);
  if (topP === 1) return { ids: candidates, weights: all };
  const total = all.reduce((sum, weight) => sum + weight, 0);
  // Candidates below this weight are together no more than what is cut off, so they need not be sorted.
  const least = ((1 - topP) * total) / candidates.length;
  const likely = candidates.filter((_, index) => all[index]! >= least);
  const ids = likely.sort((a, b) => logits[b]! - logits[a]! || a - b);
  const weights = Float64Array.from(ids, weigh);
  let reached = 0;
  let kept = 0;
  while (kept < ids.length && reached < topP * total) reached += weights[kept++]!;
  return { ids: ids.subarray(0, kept), weights: weights.subarray(0, kept) };
}

function check(name: string, expected: string, value: number, holds: boolean): void {
  if (!holds) throw badArgument(OP, `${name} to be ${expected}`, value);
}

function badLogit(id: number, value: number): ZayascopeError {
  const got = id < 0 ? 'none that is finite' : `${value} for token ${id}`;
  return new ZayascopeError('BACKEND', `${OP}: expected finite logits, got ${got}`, { op: OP });
}
