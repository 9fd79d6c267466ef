import type { ExitCode } from './command-line.js';
import { endOnSecondSignal } from './second-signal.js';

/** See {@link cancelOnSignal}. */
export interface SignalCancellation extends Disposable {
  readonly signal: AbortSignal;
  /** 128 + the signal's number once one has come. */
  readonly exitCode: ExitCode | undefined;
}

/**
 * Turns the first Ctrl-C (SIGINT) or SIGTERM into an abort, so that files are closed in order. A second one
 * ends the process at once, whatever it is doing.
 */
export function cancelOnSignal(): SignalCancellation {
  const controller = new AbortController();
  let exitCode: ExitCode | undefined;
  const stop = (name: NodeJS.Signals): void => {
    exitCode = name === 'SIGINT' ? 130 : 143;
    // The thread stays: it has counted this one.
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    controller.abort();
  };
  const second = endOnSecondSignal();
  const dispose = (): void => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    second[Symbol.dispose]();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: dispose,
  };
}
