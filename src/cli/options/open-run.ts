import { ZayascopeError } from '../../errors.js';
import type { Model } from '../../models/runtime/model.js';
import type { Terminal } from '../terminal.js';
import { openOptions, type RunOptions } from './run.js';

/**
 * Opens the model that a command runs, as its options say, and notes a policy that makes no difference to it.
 * Throws as `openModel`; `CANCELLED` where the signal came meanwhile.
 */
export async function openRun(
  op: string,
  path: string,
  options: RunOptions,
  terminal: Terminal,
  signal?: AbortSignal,
): Promise<Model> {
  const { openModel } = await import('../../models/runtime/model.js');
  const { plainReason } = await import('../../capture/plain-policy.js');
  if (terminal.isInteractive) terminal.notice(`loading ${path}\n`);
  const model = await openModel(path, openOptions(options));
  const reason = plainReason(model.policy, model.weights);
  if (reason !== undefined) terminal.notice(`zayascope: policy ${reason}\n`);
  if (signal?.aborted) {
    model.close();
    throw new ZayascopeError('CANCELLED', `${op}: cancelled before the run began`, { op });
  }
  return model;
}
