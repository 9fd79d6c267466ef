/**
 * Perplexity of a model over a text, and how far a second model's predictions are from it.
 *
 * The text is cut into windows that do not overlap; each is run from an empty past. The first token of a
 * window is not scored, since nothing precedes it; all others are, so a longer window gives a lower
 * perplexity. (llama-perplexity scores only the second half of each window and begins each with bos: its
 * figures are not these.)
 */
import { LogitsComparison, type LogitsReport } from '../diff/logits/logits.js';
import { badArgument, ZayascopeError } from '../errors.js';
import { flatRows } from '../flat-logits.js';
import { type ProbabilityChange, summariseChanges } from './probability-change.js';
import { logProbability, summariseScores, type TextScores } from './scores.js';

const OP = 'evaluate';

/** A model that gives logits, e.g. a `Model`. */
export interface EvaluatedModel {
  readonly config: { readonly vocab_size: number };
  session(options: { capacity: number }): EvaluatedSession;
}

/** A sequence that grows call by call and can be emptied, e.g. a `ModelSession`. */
export interface EvaluatedSession {
  /** Appends tokens; logits F32 [T, V] of all of them. */
  forwardAll(tokens: readonly number[]): Promise<Float32Array>;
  /** Goes back to a position; 0 empties the session. */
  truncate(position: number): Promise<void>;
  close(): void;
}

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  /** A second model, which is compared with the first. */
  against?: EvaluatedModel;
  /** Tokens of a window, at least 2. Default 512. */
  context?: number;
  /** Called after each part of a window with the tokens done and in all. */
  onProgress?: (done: number, total: number) => void;
  /** Stops between two parts (`CANCELLED`). */
  signal?: AbortSignal;
}

/** The result of {@link evaluate}. */
export interface Evaluation {
  /** Tokens of the text, windows they were cut into, and tokens scored. */
  tokens: number;
  windows: number;
  scored: number;
  context: number;
  /** Scores of the model. */
  reference: TextScores;
  /**
   * Logits of −Infinity among all that were read: such a token has the probability 0. NaN and +Infinity end
   * the evaluation. 0 without a second model.
   */
  nonFinite: { reference: number; tested: number };
  /** Tokens whose logits are all equal: none is likelier than another. 0 without a second model. */
  flatLogits: { reference: number; tested: number };
  /** Scores of the second model; null without one. */
  tested: TextScores | null;
  /**
   * KL(P_ref ‖ P_test) in nats, agreement and order of the likeliest tokens, over the columns that both have;
   * null without a second model.
   */
  logits: Omit<LogitsReport, 'tokens'> | null;
  /** Change of the probability of the text's own next token; null without a second model. */
  probabilityChange: ProbabilityChange | null;
}

/** Tokens fed at a time: bounds the memory that logits take (128 rows of 262,272 are 134 MB). */
const PART = 128;

/**
 * Scores every token of a text but the first of each window.
 *
 * @throws `BAD_ARGUMENT` for fewer than two tokens or a window below 2; `CANCELLED`; what the models throw,
 * such as `BAD_ARGUMENT` for ids outside a vocabulary.
 */
export async function evaluate(
  model: EvaluatedModel,
  tokens: readonly number[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { against, context = 512, onProgress, signal } = options;
  if (!Number.isInteger(context) || context < 2) throw bad('a window of at least 2 tokens', `${context}`);
  if (tokens.length < 2) throw bad('a text of at least 2 tokens', `${tokens.length}`);
  const capacity = Math.min(context, tokens.length);
  const models = against === undefined ? [model] : [model, against];
  const sessions: EvaluatedSession[] = [];
  const logProbabilities: number[][] = models.map(() => []);
  const impossible = [0, 0];
  const flat = [0, 0];
  const comparison = new LogitsComparison();
  const widths = models.map(({ config }) => config.vocab_size);
  const common = Math.min(...widths);
  let windows = 0;
  try {
    for (const each of models) sessions.push(each.session({ capacity }));
    for (let start = 0; start < tokens.length - 1; start += context, windows++) {
      const end = Math.min(start + context, tokens.length);
      for (const session of sessions) await session.truncate(0);
      // The window's last token is only predicted, never fed.
      for (let at = start; at < end - 1; at += PART) {
        if (signal?.aborted)
          throw new ZayascopeError('CANCELLED', `${OP}: cancelled after ${at} of ${tokens.length} tokens`, {
            op: OP,
          });
        const fed = tokens.slice(at, Math.min(at + PART, end - 1));
        const parts: Float32Array[] = [];
        for (const session of sessions) parts.push(await session.forwardAll(fed));
        for (let row = 0; row < fed.length; row++) {
          const rows = parts.map((logits, side) =>
            logits.subarray(row * widths[side]!, (row + 1) * widths[side]!),
          );
          for (const [side, logits] of rows.entries()) {
            flat[side]! += flatRows(logits, logits.length);
            for (const logit of logits) if (logit === Number.NEGATIVE_INFINITY) impossible[side]!++;
            logProbabilities[side]!.push(
              logProbability(
                logits,
                tokens[at + row + 1]!,
                `${side === 0 ? 'the model' : 'the second model'} at position ${at + row} of the text`,
              ),
            );
          }
          if (rows.length === 2)
            compareRow(comparison, rows as [Float32Array, Float32Array], common, at + row);
        }
        onProgress?.(Math.min(at + PART + 1, end), tokens.length);
      }
    }
  } finally {
    for (const session of sessions) session.close();
  }
  const [reference, tested] = logProbabilities as [number[], number[]?];
  const { tokens: _, ...logits } = comparison.report();
  return {
    tokens: tokens.length,
    windows,
    scored: reference.length,
    context,
    nonFinite: { reference: impossible[0]!, tested: impossible[1]! },
    flatLogits: { reference: flat[0]!, tested: flat[1]! },
    reference: summariseScores(reference),
    tested: tested === undefined ? null : summariseScores(tested),
    logits: tested === undefined ? null : logits,
    probabilityChange: tested === undefined ? null : summariseChanges(reference, tested),
  };
}

function compareRow(
  comparison: LogitsComparison,
  [reference, tested]: readonly [Float32Array, Float32Array],
  common: number,
  position: number,
): void {
  const rows = (logits: Float32Array) => ({
    dtype: 'F32' as const,
    shape: [1, common],
    data: logits.subarray(0, common),
    sequence: Int32Array.of(0),
    position: Int32Array.of(position),
  });
  comparison.add(rows(reference), rows(tested));
}

function bad(expected: string, got: string): ZayascopeError {
  return badArgument(OP, expected, got);
}
