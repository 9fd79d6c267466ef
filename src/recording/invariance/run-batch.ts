/** Logits of a prompt that runs in a batch with other sequences. Meant for a child process. */
import { type LlamaRun, LlamaSession } from '../record/llama-session.js';

/** A run among others. */
export type BatchRun = LlamaRun & { tokens: readonly number[]; sequences: number };

/** @returns logits of the prompt's tokens, a row a token. */
export async function runBatch(run: BatchRun): Promise<Float32Array> {
  using session = new LlamaSession(run);
  session.start(() => {});
  const { tokens, sequences } = run;
  // The others have the same tokens in another order: ids that the model knows.
  const parts = Array.from({ length: sequences }, (_, k) => ({
    sequence: k,
    first: 0,
    tokens: [...tokens.slice(k), ...tokens.slice(0, k)],
  }));
  const logits = await session.decode(parts, 'off');
  return logits.slice(0, tokens.length * session.vocabulary);
}
