/** Replays a recording, node by node, in the order in which it ran. Meant for a child process. */
import { ZayascopeError } from '../../errors.js';
import { openBackend } from '../../graph/backend.js';
import { sameBytes } from '../../same-bytes.js';
import { type ReadyNode, walkNodes } from './node-walk.js';
import { Recording } from './open-recording.js';
import type { RecordingReplay, ReplayedNode, ReplayRun } from './replay.js';
import { nmse, widenToFloat64 } from './widen.js';

export async function runReplay(
  run: ReplayRun,
  onProgress: (done: number, total: number) => void,
  onNode: (at: string) => void,
): Promise<RecordingReplay> {
  await using recording = await Recording.open('replay', run.recording);
  const threads = run.threads ?? recording.threads;
  using backend = openBackend(run.backend, threads === undefined ? {} : { threads });
  const stored = await recording.ownWeights('replay', run.model);
  const total = recording.nodeCount;
  const nodes: ReplayedNode[] = [];
  for await (const ready of walkNodes(recording, recording.graph.tensors, stored, backend, onNode)) {
    const { node, step } = ready;
    nodes.push({
      id: node.id,
      step,
      op: node.op,
      name: node.tap ?? node.name,
      block: recording.blockOf(node),
      nonFinite: ready.nonFinite,
      ...(await replayOne(ready, run)),
    });
    if (nodes.length % 64 === 0 || nodes.length === total) onProgress(nodes.length, total);
  }
  return {
    nodes,
    unrecorded: recording.leftOut,
    partial: recording.dump.manifest.status !== 'complete',
    device: backend.device.description,
    threads,
  };
}

type Outcome = Pick<ReplayedNode, 'isSame' | 'nmse' | 'ownError' | 'widened' | 'problem'>;

async function replayOne(ready: ReadyNode, { modes }: ReplayRun): Promise<Outcome> {
  const { node, recorded, written } = ready;
  const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, node.type, written.ne[0]);
  const outcome: Outcome = {};
  try {
    if (modes.includes('same')) {
      const again = ready.run();
      outcome.isSame = sameBytes(again, recorded);
      if (!outcome.isSame) outcome.nmse = nmse(await numbers(recorded), await numbers(again));
    }
    if (modes.includes('widened')) {
      const wide = await ready.widened();
      outcome.ownError = wide === undefined ? 0 : nmse(wide.values, await numbers(recorded));
      if (wide !== undefined) outcome.widened = wide.types;
    }
  } catch (error) {
    if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
    outcome.problem = error.message;
  }
  return outcome;
}
