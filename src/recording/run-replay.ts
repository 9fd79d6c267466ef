/** Replays a recording, node by node, in the order in which it ran. Meant for a child process. */
import { type GraphTensor, readGraph } from '../dump/graph-file.js';
import { Dump } from '../dump/reader.js';
import { ZayascopeError } from '../errors.js';
import { openBackend } from '../graph/backend.js';
import { openGgufFile } from '../models/layout/source.js';
import { weightsSha256 } from '../weights/identity.js';
import { ownError } from './own-error.js';
import { valueSizes } from './recorded-graph.js';
import type { RecordingReplay, ReplayedNode, ReplayRun } from './replay.js';
import { type Prepared, prepareNode, runNode, writtenBy } from './replay-node.js';
import { ReplayValues } from './replay-values.js';
import { nmse, widenToFloat64 } from './widen.js';

/** Ops that compute nothing. */
const VIEWS: ReadonlySet<string> = new Set(['NONE', 'VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE']);

export async function runReplay(
  run: ReplayRun,
  onProgress: (done: number, total: number) => void,
  onNode: (at: string) => void,
): Promise<RecordingReplay> {
  await using dump = await Dump.open(run.recording);
  if (dump.manifest.graph === undefined)
    throw new ZayascopeError(
      'BAD_DUMP',
      `replay: expected a recording, which has a graph, got a dump without one (${run.recording})`,
      { op: 'replay' },
    );
  const graph = await readGraph(run.recording, new Set(dump.taps.map(({ name }) => name)));
  const recordedThreads = dump.manifest.backend.threads;
  const threads = run.threads ?? (typeof recordedThreads === 'number' ? recordedThreads : undefined);
  using backend = openBackend(run.backend, threads === undefined ? {} : { threads });
  const { stored } = await openGgufFile(run.model);
  const [own, ran] = [await weightsSha256(stored), dump.manifest.model.weightsSha256];
  if (ran !== undefined && own !== ran)
    throw new ZayascopeError(
      'UNPAIRED',
      `replay: expected the model that ran, ${dump.manifest.model.name} with weights ${ran.slice(0, 12)}, got weights ${own.slice(0, 12)} (${run.model})`,
      { op: 'replay' },
    );
  const values = new ReplayValues(dump, graph, stored);
  const blocks = new Map(dump.taps.map(({ name, block }) => [name, block]));
  // No views, and no nodes without elements.
  const computes = (node: GraphTensor) => !VIEWS.has(node.op) && !valueSizes(node, graph.tensors).includes(0);
  const total = graph.graphs.reduce(
    (sum, { nodes }) => sum + nodes.filter((id) => computes(graph.tensors[id]!)).length,
    0,
  );
  const nodes: ReplayedNode[] = [];
  for (const { step, nodes: ids } of graph.graphs) {
    values.begin(ids);
    for (const id of ids) {
      const node = graph.tensors[id]!;
      if (computes(node)) {
        onNode(`${node.op} ${node.name} (node ${id})`);
        nodes.push({
          id,
          step,
          op: node.op,
          name: node.tap ?? node.name,
          block: node.tap === undefined ? null : (blocks.get(node.tap) ?? null),
          ...(await replayOne(node, step, run, values, graph.tensors, (prepared) =>
            runNode(backend.native, node, prepared),
          )),
        });
        if (nodes.length % 64 === 0 || nodes.length === total) onProgress(nodes.length, total);
      }
      values.end(node);
    }
  }
  return { nodes, device: backend.device.description, threads };
}

type Outcome = Pick<ReplayedNode, 'isSame' | 'nmse' | 'ownError' | 'widened' | 'problem'>;

async function replayOne(
  node: GraphTensor,
  step: number,
  { modes }: ReplayRun,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
  run: (prepared: Prepared) => void,
): Promise<Outcome> {
  const written = await writtenBy(node, step, values, tensors);
  const { ne } = written;
  const recorded = await values.recorded(node, ne, step);
  const prepared = await prepareNode(node, step, values, tensors);
  const target = prepared.tensors[0]!;
  const before = prepared.roots[0]!.slice();
  const outcome: Outcome = {};
  try {
    if (modes.includes('same')) {
      run(prepared);
      const again = written.read(prepared.roots[0]!, target);
      outcome.isSame = Buffer.from(again.buffer, again.byteOffset, again.byteLength).equals(recorded);
      if (!outcome.isSame)
        outcome.nmse = nmse(
          await widenToFloat64(recorded, node.type, ne[0]),
          await widenToFloat64(again, node.type, ne[0]),
        );
    }
    if (modes.includes('widened'))
      Object.assign(outcome, await ownError(node.op, prepared, before, recorded, written, run));
  } catch (error) {
    if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
    outcome.problem = error.message;
  }
  // Later nodes read what was recorded, whatever the replay gave.
  const memory = await values.memory(node, step);
  memory.set(before);
  written.write(memory, target, recorded);
  return outcome;
}
