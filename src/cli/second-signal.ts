import { Worker } from 'node:worker_threads';

/**
 * Runs in a thread of its own, whose loop turns while the main thread computes: `process.on` does not exist
 * for signals there, the class behind it does. It is no public interface of Node (tried: 20 and later); where
 * it is missing, the worker ends and a second signal waits for the main thread as before.
 */
const WATCH = `
const { Signal } = process.binding('signal_wrap');
const { SIGINT, SIGTERM } = require('node:os').constants.signals;
let count = 0;
for (const number of [SIGINT, SIGTERM]) {
  const signal = new Signal();
  signal.onsignal = () => {
    if (++count === 2) process.kill(process.pid, 'SIGKILL');
  };
  signal.start(number);
}
`;

/**
 * From now on the second SIGINT or SIGTERM ends the process at once, also while it computes without a pause
 * (exit code 137: no handler of ours can run then). Dispose it when signals are not waited for any more.
 */
export function endOnSecondSignal(): Disposable {
  let worker: Worker | undefined;
  try {
    worker = new Worker(WATCH, { eval: true, stdout: true, stderr: true, execArgv: ['--no-warnings'] });
    worker.unref();
    worker.on('error', () => {});
  } catch {
    // No thread to be had: the first signal still cancels.
  }
  return { [Symbol.dispose]: () => void worker?.terminate() };
}
