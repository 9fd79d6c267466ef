import { Worker } from 'node:worker_threads';
import { builtProgram } from '../child-program.js';
import { type ErrorCode, ZayascopeError } from '../errors.js';
import type { PromptTokens, TextPrompt } from './token-source.js';

const OP = 'promptTokens';
/** An honest tokenizer without words, such as ZAYA1's, takes 12 seconds for a million letters. */
const BASE_MS = 10_000;
const MS_PER_LETTER = 0.05;
const MAX_HEAP_MIB = 3072;

/** Options of {@link promptTokensInWorker}. */
export interface BoundedOptions {
  /**
   * Most time for the template and the tokenizer once it is open, in ms. Default 10 s, and 50 s more for each
   * million letters.
   */
  timeoutMs?: number;
  /** Ends the work: `CANCELLED`. */
  signal?: AbortSignal | undefined;
}

/** What the worker says: that the tokenizer is open, then ids or an error. */
export type WorkerReport =
  | { opened: true }
  | { made: Omit<PromptTokens, 'tokenizer'> }
  | { code: ErrorCode; message: string; tensor: string | undefined };

/**
 * As `promptTokens`, in a thread of its own that is ended after a time: a model's regular expressions
 * (`(a+)+$`) and templates may run for ever. This thread stays free meanwhile, for Ctrl-C too.
 *
 * @throws as `promptTokens`; `BAD_CONFIG` for a tokenizer that takes longer or more memory; `CANCELLED`.
 */
export async function promptTokensInWorker(
  model: string,
  prompt: TextPrompt,
  options: BoundedOptions = {},
): Promise<Omit<PromptTokens, 'tokenizer'>> {
  const { timeoutMs = BASE_MS + MS_PER_LETTER * prompt.text.length, signal } = options;
  if (signal?.aborted) throw cancelled();
  const worker = new Worker(builtProgram(import.meta.url, './prompt-worker.js'), {
    workerData: { model, prompt },
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  });
  let timer: NodeJS.Timeout | undefined;
  let abort: (() => void) | undefined;
  try {
    return await new Promise((resolve, reject) => {
      abort = () => reject(cancelled());
      signal?.addEventListener('abort', abort);
      const tooMuch = (what: string) =>
        reject(failure('BAD_CONFIG', 'a tokenizer and a chat template that come to an end', what, model));
      worker.on('message', (report: WorkerReport) => {
        if ('opened' in report)
          timer = setTimeout(() => tooMuch(`${Math.round(timeoutMs)} ms of work without one`), timeoutMs);
        else if ('made' in report) resolve(report.made);
        else
          reject(
            new ZayascopeError(report.code, report.message, {
              op: OP,
              tensor: report.tensor,
            }),
          );
      });
      worker.on('error', (cause: Error & { code?: string }) => {
        if (cause.code === 'ERR_WORKER_OUT_OF_MEMORY')
          tooMuch(`more than ${MAX_HEAP_MIB} MiB of memory taken`);
        else reject(cause);
      });
      worker.on('exit', () => tooMuch('a thread that ended early'));
    });
  } finally {
    clearTimeout(timer);
    if (abort !== undefined) signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}

function cancelled(): ZayascopeError {
  return new ZayascopeError('CANCELLED', `${OP}: cancelled`, { op: OP });
}

function failure(code: ErrorCode, expected: string, got: string, model: string): ZayascopeError {
  return new ZayascopeError(code, `${OP}: expected ${expected}, got ${got} (${model})`, { op: OP });
}
