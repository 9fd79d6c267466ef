/** A run of our own of given calls, with or without every node watched. */
import { badArgument } from '../../errors.js';
import { likeliestToken } from '../../likeliest-token.js';
import type { Model } from '../../models/runtime/model.js';
import type { SegmentWatch } from '../../models/runtime/plan.js';
import type { Taps } from '../../models/runtime/tap.js';
import type { CallPart } from '../record/graph-rows.js';

/** A call that was made, with the logits of its tokens, a row each. */
export interface OwnCall extends CallPart {
  kind: 'prefill' | 'decode';
  logits: Float32Array;
}

/** What watches a run. */
export interface OwnWatch extends SegmentWatch {
  taps: Taps;
  /** Before a call. */
  begin(call: CallPart): void;
  /** After it, when its values have been read. */
  end(): Promise<void>;
}

/**
 * Runs sequences one after the other: each prompt in one call, then tokens one by one, the likeliest of the
 * last call's. Without tokens to append a sequence runs as a capture runs it, without a cache.
 * @param fixed calls of an earlier run, whose tokens are run again.
 */
export async function runOwn(
  model: Model,
  sequences: readonly (readonly number[])[],
  generate: number,
  watch?: OwnWatch,
  fixed?: readonly OwnCall[],
): Promise<OwnCall[]> {
  const calls: OwnCall[] = [];
  for (const [sequence, prompt] of sequences.entries()) {
    await using steps = await openSteps(model, prompt.length, generate, watch);
    let tokens: readonly number[] = prompt;
    let first = 0;
    for (let k = 0; k <= generate && tokens.length > 0; k++) {
      const call = { sequence, first, tokens };
      watch?.begin(call);
      const logits = await steps.run(tokens);
      await watch?.end();
      first += tokens.length;
      calls.push({ ...call, kind: k === 0 ? 'prefill' : 'decode', logits });
      if (fixed === undefined) {
        const next = likeliestToken(logits.subarray(logits.length - model.config.vocab_size));
        tokens = next === null ? [] : [next];
      } else tokens = fixed[calls.length]?.sequence === sequence ? fixed[calls.length]!.tokens : [];
    }
  }
  return calls;
}

/** Forward calls of one sequence. */
interface Steps extends AsyncDisposable {
  run(tokens: readonly number[]): Promise<Float32Array>;
}

async function openSteps(
  model: Model,
  length: number,
  generate: number,
  watch: OwnWatch | undefined,
): Promise<Steps> {
  if (length === 0) throw badArgument('capture', 'at least one token in each sequence', 'none');
  const taps = watch?.taps;
  if (generate === 0) {
    const plan = model.plan({ tokens: length, nodes: watch !== undefined, taps });
    return {
      run: (tokens) => plan.run(tokens, { watch }),
      [Symbol.asyncDispose]: async () => plan.close(),
    };
  }
  const session = model.session({ capacity: length + generate });
  return {
    run: (tokens) => session.forward(tokens, { logits: 'all', watch, taps }),
    [Symbol.asyncDispose]: async () => session.close(),
  };
}
