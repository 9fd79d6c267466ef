/** Replays a recording, node by node, in the order in which it ran. Meant for a child process. */
import { dtypeKind } from '../../dump/dtypes.js';
import { ZayascopeError } from '../../errors.js';
import { openBackend } from '../../graph/backend.js';
import { sameBytes } from '../../same-bytes.js';
import { floorOf } from '../locate/judge-node.js';
import { openNodeBackend } from './node-backend.js';
import { type ReadyNode, walkNodes } from './node-walk.js';
import { Recording } from './open-recording.js';
import type { RecordingReplay, ReplayedNode, ReplayRun } from './replay.js';
import { nmse, widenToFloat64 } from './widen.js';

export async function runReplay(
  run: ReplayRun,
  onProgress: (done: number, total: number) => void,
  onNode: (at: string) => void,
  onResult: (node: ReplayedNode) => void = () => {},
): Promise<RecordingReplay> {
  await using recording = await Recording.open('replay', run.recording);
  const threads = run.threads ?? recording.threads;
  const onCpu = threads === undefined ? {} : { threads };
  using backend = openNodeBackend(run.backend, {
    ...onCpu,
    strictF32: run.strictF32,
  });
  const isCpu = backend.device.type === 'cpu';
  using wide = isCpu ? undefined : openBackend('cpu', onCpu);
  using stored = await recording.ownWeights('replay', run.model);
  const { sequences } = recording.dump.manifest;
  const positions = Math.max(1, ...sequences.map(({ tokens, length = 0 }) => tokens?.length ?? length));
  const total = recording.nodeCount;
  const nodes: ReplayedNode[] = [];
  for await (const ready of walkNodes(recording, recording.graph.tensors, stored, backend, onNode, {
    wide,
    from: run.from,
  })) {
    const { node, step } = ready;
    const replayed: ReplayedNode = {
      id: node.id,
      step,
      op: node.op,
      name: node.tap ?? node.name,
      block: recording.blockOf(node),
      nonFinite: ready.nonFinite,
      ...(await (isCpu ? replayOne(ready, run) : replayOnDevice(ready, positions))),
    };
    nodes.push(replayed);
    if (!isCpu) onResult(replayed);
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

type Outcome = Pick<
  ReplayedNode,
  'isSame' | 'nmse' | 'ownError' | 'doubleError' | 'onDevice' | 'widened' | 'problem'
>;

/** What was recorded errs by as much as the CPU's own roundings; a device may err by twice that. */
const FACTOR = 4;

/** The CPU looks functions up in tables of F16, which is no reference for a device that computes them. */
const LOOKED_UP: ReadonlySet<string> = new Set(['UNARY', 'GLU']);

/** Judged by limits: another device sums in another order. */
async function replayOnDevice(ready: ReadyNode, positions: number): Promise<Outcome> {
  const { node, recorded, written } = ready;
  const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, node.type, written.ne[0]);
  try {
    const again = ready.run();
    const isSame = sameBytes(again, recorded);
    if (dtypeKind(node.type) === 'integer') {
      const onDevice = { error: isSame ? 0 : 1, limit: 0, isBeyond: !isSame };
      return { isSame, onDevice };
    }
    const [given, own] = [await numbers(again), await numbers(recorded)];
    const wide = await ready.widened();
    const exact = LOOKED_UP.has(node.op) ? await ready.inDouble() : undefined;
    const reference = exact ?? wide?.values ?? own;
    const limit = Math.max(floorOf(node, ready, { positions }), FACTOR * nmse(reference, own));
    const error = nmse(reference, given);
    return {
      isSame,
      onDevice: { error, limit, isBeyond: !isSame && !(error <= limit) },
      nmse: !isSame ? nmse(own, given) : undefined,
      widened: wide !== undefined ? wide.types : undefined,
    };
  } catch (error) {
    if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
    return { problem: error.message };
  }
}

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
    if (modes.includes('double') && dtypeKind(node.type) !== 'integer') {
      const exact = await ready.inDouble();
      if (exact !== undefined) outcome.doubleError = nmse(exact, await numbers(recorded));
    }
  } catch (error) {
    if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
    outcome.problem = error.message;
  }
  return outcome;
}
