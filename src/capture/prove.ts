import { ZayascopeError } from '../errors.js';
import { countNotNumbers } from '../likeliest-token.js';
import type { Model } from '../models/runtime/model.js';
import type { ModelPlan } from '../models/runtime/plan.js';
import type { Taps } from '../models/runtime/tap.js';
import { checkTokenIds } from '../models/runtime/token-ids.js';
import { select } from './selection.js';

/** Options of {@link proveCapture}. */
export interface ProveOptions {
  /** Tap pattern; default `**`. */
  taps?: string;
  /** Runs that the search for the taps to blame may cost; default 64. */
  maxRuns?: number;
  /** Called after each run: runs so far and at most. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the search with `CANCELLED`. */
  signal?: AbortSignal;
}

/** Taps that change the logits by being captured. */
export interface ChangingTaps {
  /** One name, or several that do so only together, or that the runs did not suffice to take apart. */
  taps: readonly string[];
  /** True if each of them was tried without the others. */
  isMinimal: boolean;
  /** Logits that differ in a bit from those of the run without taps, and the largest difference. */
  differing: number;
  largest: number;
}

/** What {@link proveCapture} gives. */
export interface CaptureProof {
  /** Taps that were captured. */
  taps: number;
  tokens: number;
  /** Logits compared: tokens times vocabulary. */
  logits: number;
  /** Of the logits of the run without taps: those that are NaN or infinite. */
  nonFinite: number;
  /**
   * True if two runs without taps gave the same bits. Otherwise the device is not deterministic, and nothing
   * else can be said.
   */
  isDeterministic: boolean;
  /** True if the run with all taps gave the bits of the run without. */
  isEqual: boolean;
  /**
   * Nodes that compute or move data: without taps, and with all. The difference is what shows values, such as
   * contiguous copies.
   */
  nodes: { without: number; with: number };
  /** Empty where the bits are equal. */
  changing: readonly ChangingTaps[];
  /** Forward passes run. */
  runs: number;
}

/**
 * Runs a prompt without taps and with them, and compares the logits bit by bit. Where they differ, sets of
 * taps are halved until those are found that change a result by being captured: a value that must be readable
 * is computed apart from its neighbours, which a device would otherwise fuse.
 *
 * @throws `BAD_ARGUMENT` for a pattern without a match or ids outside the vocabulary; `CANCELLED`; `BACKEND`.
 */
export async function proveCapture(
  model: Model,
  tokens: readonly number[],
  { taps = '**', maxRuns = 64, onProgress, signal }: ProveOptions = {},
): Promise<CaptureProof> {
  checkTokenIds('prove', tokens, model.config.vocab_size);
  const selection = select(model.config, taps, 'all');
  const names = selection.selected.map(({ name }) => name);
  let runs = 0;
  const logitsOf = async (plan: ModelPlan): Promise<Float32Array> => {
    if (signal?.aborted)
      throw new ZayascopeError('CANCELLED', `prove: cancelled after ${runs} runs`, { op: 'prove' });
    const logits = await plan.run(tokens, { sink: async () => {} });
    runs++;
    onProgress?.(runs, maxRuns);
    return logits;
  };
  const tapped = (set: readonly string[]): ModelPlan => {
    const wanted = new Set(set);
    const watched: Taps = { wants: (name) => wanted.has(name) };
    return model.plan({ tokens: tokens.length, taps: watched });
  };
  using plain = tapped([]);
  const expected = await logitsOf(plain);
  const isDeterministic = countDiffering(expected, await logitsOf(plain)).differing === 0;
  const withSet = async (set: readonly string[]) => {
    using plan = tapped(set);
    return { ...countDiffering(expected, await logitsOf(plan)), nodes: plan.computeNodes };
  };
  const all = await withSet(names);
  const proof = {
    taps: names.length,
    tokens: tokens.length,
    logits: expected.length,
    nonFinite: countNotNumbers(expected),
    isDeterministic,
    isEqual: all.differing === 0,
    nodes: { without: plain.computeNodes, with: all.nodes },
  };
  const changing: ChangingTaps[] = [];
  if (isDeterministic && !proof.isEqual) {
    const found = { taps: names, ...all };
    await search(found);
  }
  return { ...proof, changing, runs };

  /** `whole` changes the logits. */
  async function search(whole: Differing & { taps: readonly string[] }): Promise<void> {
    const { taps: set, differing, largest } = whole;
    if (set.length === 1 || runs + 2 > maxRuns) {
      changing.push({ taps: set, isMinimal: set.length === 1, differing, largest });
      return;
    }
    const middle = set.length >> 1;
    let isFound = false;
    for (const half of [set.slice(0, middle), set.slice(middle)]) {
      const result = await withSet(half);
      if (result.differing === 0) continue;
      isFound = true;
      await search({ taps: half, ...result });
    }
    if (!isFound) changing.push({ taps: set, isMinimal: set.length === 2, differing, largest });
  }
}

interface Differing {
  differing: number;
  largest: number;
}

/** Compares bits: two NaNs of the same bits are equal, and −0 is not 0. */
function countDiffering(a: Float32Array, b: Float32Array): Differing {
  const [bitsA, bitsB] = [
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  ];
  let differing = 0;
  let largest = 0;
  for (let at = 0; at < a.length; at++) {
    if (bitsA[at] === bitsB[at]) continue;
    differing++;
    largest = Math.max(largest, Math.abs(a[at]! - b[at]!));
  }
  return { differing, largest };
}
