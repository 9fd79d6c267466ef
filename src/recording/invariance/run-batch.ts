/** Logits of a prompt that runs in a batch with other sequences. Meant for a child process. */
import { type LlamaRun, LlamaSession } from '../record/llama-session.js';

/** A run among others. */
export type BatchRun = LlamaRun & { sequences: number };

/** @returns logits of the prompt's tokens, a row a token. */
export async function runBatch(run: BatchRun): Promise<Float32Array> {
  using session = new LlamaSession(run);
  session.start(() => {});
  const { tokens, sequences } = run;
  // The same tokens in another order: ids that the model knows.
  const others = Array.from({ length: sequences - 1 }, (_, k) => [
    ...tokens.slice(k + 1),
    ...tokens.slice(0, k + 1),
  ]).flat();
  return await session.decode({ tokens, first: 0 }, 'off', others);
}
