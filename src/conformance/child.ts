/**
 * The program of a child process of `in-children.ts`: takes one {@link ChildJob} and sends {@link
 * ChildMessage}s.
 */
import { ZayascopeError } from '../errors.js';
import type { ChildJob, ChildMessage } from './in-children.js';
import { runRange } from './run-range.js';

process.once('message', (job: ChildJob) => {
  const send = (message: ChildMessage) =>
    new Promise<void>((resolve) => process.send!(message, undefined, {}, () => resolve()));
  runRange(job, send)
    .catch((error: unknown) => {
      if (!(error instanceof ZayascopeError)) throw error;
      return send({ error: { code: error.code, message: error.message } });
    })
    // Without waiting for what drivers do when a process ends, which is not what is judged here.
    .finally(() => process.kill(process.pid, 'SIGKILL'));
});
