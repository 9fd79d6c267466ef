/**
 * The program of a child process of `capture-process.ts`: takes one {@link CaptureJob} and sends {@link
 * CaptureMessage}s.
 */

import { ZayascopeError } from '../errors.js';
import { openModel } from '../models/runtime/model.js';
import { capture } from './capture.js';
import type { CaptureJob, CaptureMessage } from './capture-process.js';

const cancellation = new AbortController();
process.once('SIGTERM', () => cancellation.abort());

process.once('message', (job: CaptureJob) => {
  const send = (message: CaptureMessage) =>
    new Promise<void>((resolve) => process.send!(message, undefined, {}, () => resolve()));
  run(job, send)
    .catch((error: unknown) => {
      if (!(error instanceof ZayascopeError)) throw error;
      return send({ error: { code: error.code, message: error.message } });
    })
    .then(() => process.disconnect());
});

async function run(
  { model: path, tokens, out, policy, backend, threads, strictF32 }: CaptureJob,
  send: (message: CaptureMessage) => Promise<void>,
): Promise<void> {
  using model = await openModel(path, { policy, backend, threads, strictF32 });
  const { manifest } = await capture(model, [tokens], {
    out,
    overwrite: true,
    signal: cancellation.signal,
    onProgress: () => void send({ isAlive: true }),
  });
  await send({ device: String(manifest.backend.device) });
}
