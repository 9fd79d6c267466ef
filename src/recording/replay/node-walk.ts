/** Every node of a recording that computes, ready to run, in the order in which it ran. */
import type { GraphTensor } from '../../dump/graph-file.js';
import type { Backend } from '../../graph/backend.js';
import { runDouble } from '../double/run-double.js';
import { narrowed, recordedRows } from './narrowed.js';
import type { Recording } from './open-recording.js';
import { type Prepared, placed, prepareNode, runNode, type Written, writtenBy } from './replay-node.js';
import { ReplayValues } from './replay-values.js';
import { runWidened, type Widened } from './run-widened.js';
import type { WeightValues } from './weight-values.js';
import { countNonFinite } from './widen.js';

/** One node with what it reads. */
export interface ReadyNode {
  /** As it is to be run. */
  node: GraphTensor;
  step: number;
  /** What was recorded, elements in ggml's order. */
  recorded: Uint8Array;
  /** NaN in what was recorded, and infinities but minus infinity, which masks hold. */
  nonFinite: number;
  written: Written;
  prepared: Prepared;
  /** Runs it as it is. @returns the bytes of its value. */
  run(): Uint8Array;
  /** Runs what another graph has in its place, on the same values. @returns the bytes of its value. */
  runAs(node: GraphTensor, tensors: readonly GraphTensor[]): Promise<Uint8Array>;
  /** Runs it with its operands in F32; undefined where they are. */
  widened(): Promise<Widened | undefined>;
  /** In double precision; undefined for an op that is not computed so. */
  inDouble(): Promise<Float64Array | undefined>;
}

/**
 * Walks through a recording. Later nodes read what was recorded, whatever a node gives now.
 * @param tensors the graph's, or as another graph defines them. @param onNode called before each node.
 * @param options `wide` runs nodes with their operands in F32 (default `backend`); `from`: how many nodes are
 * passed over.
 */
export async function* walkNodes(
  recording: Recording,
  tensors: readonly GraphTensor[],
  weights: WeightValues,
  backend: Pick<Backend, 'native'>,
  onNode: (at: string) => void,
  {
    wide = backend,
    from = 0,
  }: { wide?: Pick<Backend, 'native'> | undefined; from?: number | undefined } = {},
): AsyncGenerator<ReadyNode> {
  const values = new ReplayValues(
    recording.dump,
    { ...recording.graph, tensors },
    weights,
    recording.graph.tensors,
  );
  let place = 0;
  for (const { step, nodes } of recording.graph.graphs) {
    values.begin(nodes);
    for (const id of nodes) {
      const node = tensors[id]!;
      const isPassed = recording.computes(id) && !recording.unrecorded.has(id) && place++ < from;
      if (isPassed || recording.unrecorded.has(id)) await keepValue(recording, node, step, values, tensors);
      else if (recording.computes(id)) {
        onNode(`${node.op} ${node.name} (node ${id})`);
        const all = await writtenBy(node, step, values, tensors);
        const rows = await recordedRows(recording.dump, node, step);
        const written = rows === undefined ? all : narrowed(all, node, rows);
        if (written.ne.includes(0)) {
          values.end(node);
          continue; // none of its rows was recorded
        }
        const recorded = await values.recorded(node, written.ne, step);
        const prepared = await prepareNode(node, step, values, tensors);
        const target = prepared.tensors[0]!;
        const before = prepared.roots[0]!.slice();
        const run = (again: Prepared) => runNode(backend.native, node, again);
        const runWide = (again: Prepared) => runNode(wide.native, node, again);
        yield {
          node,
          step,
          recorded,
          nonFinite: countNonFinite(recorded, node.type),
          written,
          prepared,
          run: () => {
            prepared.roots[0]!.set(before);
            run(prepared);
            return written.read(prepared.roots[0]!, target);
          },
          runAs: async (other, others) => {
            const again = await prepareNode(other, step, values, others);
            runNode(backend.native, other, again);
            return written.read(again.roots[0]!, again.tensors[0]!);
          },
          widened: () => runWidened(node.op, prepared, before, written, runWide),
          inDouble: () => runDouble(node, prepared, before, written),
        };
        const memory = await values.memory(node, step);
        memory.set(before);
        written.write(memory, target, recorded);
      }
      values.end(node);
    }
  }
}

/** Of a node that cannot be run again, what was recorded: later nodes may read it. */
async function keepValue(
  recording: Recording,
  node: GraphTensor,
  step: number,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
): Promise<void> {
  if (node.tap === undefined || !recording.computes(node.id)) return;
  const isOwn = values.owner(node).id === node.id;
  if (!isOwn && !values.holds(node)) return;
  const written = await writtenBy(node, step, values, tensors);
  if ((await recordedRows(recording.dump, node, step)) !== undefined) return;
  const recorded = await values.recorded(node, written.ne, step);
  const memory = isOwn ? values.blank(node) : await values.memory(node, step);
  written.write(memory, placed({ ...node, dtype: node.type }, 0, node.viewOffs ?? 0), recorded);
}
