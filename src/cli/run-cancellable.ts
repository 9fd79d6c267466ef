import { cancelOnSignal } from './cancel-on-signal.js';
import type { CommandContext } from './command-line.js';

/**
 * Runs a command's work, which the first Ctrl-C (SIGINT) or SIGTERM cancels through `signal`; the command
 * then ends with 128 + the signal's number. Gives what the work gives, and throws what it throws.
 */
export async function runCancellable<T>(
  { exitWith }: Pick<CommandContext, 'exitWith'>,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using cancellation = cancelOnSignal();
  try {
    return await work(cancellation.signal);
  } catch (error) {
    if (cancellation.exitCode !== undefined) exitWith(cancellation.exitCode);
    throw error;
  }
}
