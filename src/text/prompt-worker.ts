/** The thread of `promptTokensInWorker`: opens the tokenizer, says so, and sends ids or an error. */
import { parentPort, workerData } from 'node:worker_threads';
import { ZayascopeError } from '../errors.js';
import type { WorkerReport } from './prompt-in-worker.js';
import { type TextPrompt, textTokens } from './token-source.js';
import { openTokenizer } from './tokenizer.js';

async function work(): Promise<void> {
  const { model, prompt } = workerData as { model: string; prompt: TextPrompt };
  const report = (message: WorkerReport): void => parentPort!.postMessage(message);
  try {
    const tokenizer = await openTokenizer(model);
    report({ opened: true });
    report({ made: textTokens(tokenizer, prompt, model) });
  } catch (error) {
    if (!(error instanceof ZayascopeError)) throw error;
    report({ code: error.code, message: error.message, tensor: error.tensor });
  }
}

void work();
