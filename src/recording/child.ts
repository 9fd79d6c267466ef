/** The program of a child process of `in-child.ts`: takes one job, and tells how it went. */
import { ZayascopeError } from '../errors.js';
import type { RecordingJob, RecordingMessage } from './in-child.js';
import type { ReplayedNode } from './replay/replay.js';

process.once('message', (job: RecordingJob) => {
  const send = (message: RecordingMessage) =>
    new Promise<void>((resolve) => process.send!(message, undefined, {}, () => resolve()));
  const tell = (done: number, total: number) => {
    process.send!({ done, total } satisfies RecordingMessage);
  };
  run(job, tell)
    .then((result) => send({ result }))
    .catch((error: unknown) => {
      const code = error instanceof ZayascopeError ? error.code : 'BACKEND';
      return send({ error: { code, message: (error as Error).message } });
    })
    // Without waiting for what drivers do when a process ends.
    .finally(() => process.kill(process.pid, 'SIGKILL'));
});

async function run(job: RecordingJob, tell: (done: number, total: number) => void): Promise<unknown> {
  if (job.kind === 'record') {
    const { runRecording } = await import('./record/run-record.js');
    return runRecording(job.run, tell);
  }
  if (job.kind === 'batch') {
    const { runBatch } = await import('./invariance/run-batch.js');
    return runBatch(job.run);
  }
  const onNode = (at: string) => process.send!({ at } satisfies RecordingMessage);
  if (job.kind === 'locate') {
    const { runLocate } = await import('./locate/run-locate.js');
    return runLocate(job.run, tell, onNode);
  }
  const { runReplay } = await import('./replay/run-replay.js');
  const onResult = (node: ReplayedNode) => process.send!({ node } satisfies RecordingMessage);
  return runReplay(job.run, tell, onNode, onResult);
}
