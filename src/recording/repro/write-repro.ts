/** A recording of one node: what it reads, and what was recorded of it. */
import { basename } from 'node:path';
import type { DumpDescription, RowIndex } from '../../dump/format.js';
import { DumpWriter } from '../../dump/writer.js';
import { badArgument } from '../../errors.js';
import { openBackend } from '../../graph/backend.js';
import { packageVersion } from '../../package-version.js';
import { graphFile } from '../record/graph-file.js';
import { planTaps } from '../record/tap-plan.js';
import { ValueWriter } from '../record/value-writer.js';
import { type ReadyNode, walkNodes } from '../replay/node-walk.js';
import { Recording } from '../replay/open-recording.js';
import { excerptOf, leafBytes } from './excerpt.js';

/** Options of {@link writeNodeRepro}. */
export interface NodeReproOptions {
  /** Folder of the recording. */
  recording: string;
  /** A node: its tap, `TAP@STEP` for a later step than the first that has it, or its number in the graph. */
  op: string;
  /** The GGUF file that ran. Default: none, for recordings that read no weights. */
  model?: string;
  /** Folder to make; must be absent or empty. */
  out: string;
}

/** What was written. */
export interface NodeRepro {
  out: string;
  id: number;
  name: string;
  op: string;
  step: number;
  /** Sources: names, types and sizes, the fastest axis first. */
  sources: { name: string; type: string; ne: readonly number[] }[];
  /** Bytes of what it reads. */
  bytes: number;
}

const OP = 'repro';
/** One row: the node's values belong to a step, not to tokens. */
const INDEX: RowIndex = {
  sequence: Int32Array.of(0),
  position: Int32Array.of(0),
  tokenId: Int32Array.of(0),
  step: Int32Array.of(0),
};

/**
 * Writes one node of a recording as a recording of its own, with the values that it reads and the weights
 * among them: `replay` and `locate` run it again without the model and the rest.
 * @throws `BAD_ARGUMENT` for a node that the recording does not have, `BAD_DUMP`, `UNPAIRED` for a model that
 * lacks weights, `IO`.
 */
export async function writeNodeRepro({
  recording: from,
  op,
  model,
  out,
}: NodeReproOptions): Promise<NodeRepro> {
  await using recording = await Recording.open(OP, from);
  using stored = await recording.ownWeights(OP, model);
  const wanted = findNode(recording, op, from);
  using backend = openBackend('cpu');
  // What runs before is passed over: its values are read where the node needs them, its weights are not.
  const before = recording.runnable.indexOf(wanted);
  const { tensors } = recording.graph;
  if (before >= 0)
    for await (const ready of walkNodes(recording, tensors, stored, backend, () => {}, { from: before })) {
      if (ready.node.id !== wanted) break; // none of its rows was recorded
      return writeNode(recording, ready, out);
    }
  throw unknownNode(op, from);
}

/** The node's id. */
function findNode(recording: Recording, op: string, from: string): number {
  const { graphs, tensors } = recording.graph;
  if (/^\d+$/.test(op)) {
    const id = Number(op);
    if (id < tensors.length && graphs.some(({ nodes }) => nodes.includes(id)) && recording.computes(id))
      return id;
    throw unknownNode(op, from);
  }
  const [, name = op, step] = /^(.*)@(\d+)$/s.exec(op) ?? [];
  for (const graph of graphs) {
    if (step !== undefined && graph.step !== Number(step)) continue;
    const id = graph.nodes.find((each) => tensors[each]!.tap === name && recording.computes(each));
    if (id !== undefined) return id;
  }
  // A tap's own name may end in @TYPE or @ and digits.
  const id = graphs.flatMap(({ nodes }) => nodes).find((each) => tensors[each]!.tap === op);
  if (id !== undefined && recording.computes(id)) return id;
  throw unknownNode(op, from);
}

function unknownNode(op: string, from: string) {
  return badArgument(
    OP,
    'a value of a node that the recording has (zayascope inspect lists them), NAME@STEP, or its number',
    op,
    from,
  );
}

async function writeNode(recording: Recording, ready: ReadyNode, out: string): Promise<NodeRepro> {
  const { node, step } = ready;
  const excerpt = excerptOf(ready, recording.graph.tensors);
  const graph = { nodes: excerpt.nodes, leaves: excerpt.leaves };
  const plan = planTaps({ tensors: excerpt.tensors, graphs: [graph] }, [1]);
  const { manifest } = recording.dump;
  const name = node.tap ?? node.name;
  const description: DumpDescription = {
    tier: 'full',
    producer: {
      name: 'zayascope repro',
      version: packageVersion(),
      of: basename(recording.dump.dir),
      node: name,
      id: node.id,
      step,
    },
    model: { name: manifest.model.name, layout: manifest.model.layout },
    policy: manifest.policy,
    backend: manifest.backend,
    sequences: [{ length: 1 }],
    selection: { taps: '**', positions: 'all' },
    taps: plan.taps,
    order: 'execution',
  };
  await using writer = await DumpWriter.create(out, description, { graph: true });
  const values = new ValueWriter(writer, plan, [[INDEX]]);
  const last = excerpt.nodes.at(-1)!;
  for (const id of [...excerpt.leaves, last]) {
    if (!plan.values.has(id)) continue; // zeros of a state, and what has no elements
    const { ne, bytes } = excerpt.bytes.get(id)!;
    await values.take(0, excerpt.tensors[id]!, ne, bytes);
  }
  await values.endGraph(0);
  await writer.writeGraph(
    graphFile({ tensors: new Map() }, { tensors: excerpt.tensors, graphs: [graph] }, plan),
  );
  await writer.finish();
  const { src } = excerpt.tensors[last]!;
  return {
    out,
    id: node.id,
    name,
    op: node.op,
    step,
    sources: src.flatMap((id) => {
      if (id === null) return [];
      const { name: source, type, ne } = excerpt.tensors[id]!;
      return [{ name: source, type, ne }];
    }),
    bytes: leafBytes(excerpt),
  };
}
