import type { ExitCode } from './command-line.js';

/** See {@link cancelOnSignal}. */
export interface SignalCancellation extends Disposable {
  readonly signal: AbortSignal;
  /** 128 + the signal's number once one has come. */
  readonly exitCode: ExitCode | undefined;
}

/**
 * Turns the first Ctrl-C (SIGINT) or SIGTERM into an abort, so that files are closed in order. A second one ends the process at once.
 */
export function cancelOnSignal(): SignalCancellation {
  const controller = new AbortController();
  let exitCode: ExitCode | undefined;
  const stop = (name: NodeJS.Signals): void => {
    exitCode = name === 'SIGINT' ? 130 : 143;
    dispose();
    controller.abort();
  };
  const dispose = (): void => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
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
