import { badArgument, ZayascopeError } from '../errors.js';
import { flatRows } from '../flat-logits.js';
import type { Sampler } from './sampling.js';

const OP = 'generate';

/** A sequence that a model continues, e.g. a `ModelSession`. */
export interface DecodingSession {
  /** Appends tokens and gives the logits of the last one, F32 [V]. */
  forward(tokens: readonly number[]): Promise<Float32Array>;
}

/** Options of {@link generate}. */
export interface GenerateOptions {
  /** Most tokens to generate, at least 1. */
  maxTokens: number;
  /** Chooses each token. */
  sampler: Sampler;
  /** Tokens after which generation ends; default none. */
  stopTokens?: ReadonlySet<number>;
  /** Called with each token once it is chosen, the one that stops included. */
  onToken?: (token: number) => void;
  /** Stops between two steps: `CANCELLED`. */
  signal?: AbortSignal;
}

/** The result of {@link generate}. */
export interface Generation {
  /** The tokens generated, the one that stopped it included, as transformers returns them. */
  tokens: number[];
  /** `stop`: a stop token came; `length`: there were enough tokens. */
  finish: 'stop' | 'length';
  /** Time of the pass over the prompt. */
  prefillMs: number;
  /** Time of the passes over the generated tokens, one fewer than {@link tokens}, with choosing them. */
  decodeMs: number;
  /** Tokens that were chosen from logits that are all equal: by their ids, or by chance. */
  flatLogits: number;
}

/**
 * Continues a prompt token by token: one pass over the prompt, then one per token. The last token is not fed
 * back.
 *
 * @throws `BAD_ARGUMENT` for an empty prompt or `maxTokens` below 1; `CANCELLED`; what session and sampler
 * throw.
 */
export async function generate(
  session: DecodingSession,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<Generation> {
  const { maxTokens, sampler, stopTokens, onToken, signal } = options;
  if (prompt.length === 0) throw bad('at least one token in the prompt', 'none');
  if (!Number.isInteger(maxTokens) || maxTokens < 1) throw bad('maxTokens from 1 on', String(maxTokens));
  const tokens: number[] = [];
  const started = performance.now();
  let logits = await session.forward(prompt);
  let flatLogits = 0;
  const prefilled = performance.now();
  const result = (finish: Generation['finish']): Generation => ({
    tokens,
    finish,
    prefillMs: prefilled - started,
    decodeMs: performance.now() - prefilled,
    flatLogits,
  });
  for (;;) {
    const token = sampler(logits);
    flatLogits += flatRows(logits, logits.length);
    tokens.push(token);
    onToken?.(token);
    if (stopTokens?.has(token)) return result('stop');
    if (tokens.length === maxTokens) return result('length');
    if (signal?.aborted)
      throw new ZayascopeError('CANCELLED', `${OP}: cancelled after ${tokens.length} tokens`, { op: OP });
    logits = await session.forward([token]);
  }
}

function bad(expected: string, got: string): ZayascopeError {
  return badArgument(OP, expected, got);
}
