/** What each value of a dump was computed from: by the manifest's edges, or by the graph of a recording. */
import type { DumpGraph, GraphTensor } from '../dump/graph-file.js';
import type { Dump } from '../dump/reader.js';
import { type NodeSource, nodeSources } from '../recording/edges.js';
import { COPY_OPS } from '../recording/quiet-ops.js';

/** A node of a recording, as the value that it makes. */
export interface NodeOfValue {
  id: number;
  op: string;
  params: string;
  /** Names and types of the weights that it reads. */
  weights: { name: string; type: string }[];
  /** The tap that has the same elements because this node only copies them. */
  copyOf: number | undefined;
}

/** Edges between the taps of a dump, by index. */
export interface SideEdges {
  /** What went directly into each tap; undefined where the dump does not say. */
  parents: readonly (readonly number[])[] | undefined;
  /** By tap, of a recording only. */
  nodes: ReadonlyMap<number, NodeOfValue>;
}

/** Edges of a dump. @throws `BAD_DUMP` for a damaged graph, `IO`. */
export async function readEdges(dump: Dump): Promise<SideEdges> {
  const graph = await dump.graph();
  if (graph !== undefined) return graphEdges(dump, graph);
  const { edges } = dump.manifest;
  if (edges === undefined) return { parents: undefined, nodes: new Map() };
  const parents = dump.taps.map((): number[] => []);
  for (const [from, to] of edges) parents[to]!.push(from);
  return { parents, nodes: new Map() };
}

/** Ops that give rows, or parts, of their source as they are. */
const MOVES: ReadonlySet<string> = new Set([...COPY_OPS, 'SET_ROWS', 'GET_ROWS']);

function graphEdges(dump: Dump, graph: DumpGraph): SideEdges {
  const indexOf = new Map(dump.taps.map(({ name }, index) => [name, index]));
  const parents = dump.taps.map((): number[] => []);
  const nodes = new Map<number, NodeOfValue>();
  const first = graph.graphs.filter(({ step }) => step === 0);
  const tapOf = ({ tap }: GraphTensor): number[] => {
    const index = tap === undefined ? undefined : indexOf.get(tap);
    return index === undefined ? [] : [index];
  };
  /** What a source is: the nodes that wrote it, or where nothing wrote, the input that it is. */
  const read = ({ writers, leaf }: NodeSource): number[] =>
    writers.length > 0
      ? writers.flatMap((id) => tapOf(graph.tensors[id]!))
      : leaf === undefined
        ? []
        : tapOf(leaf);
  for (const [id, sources] of nodeSources({ ...graph, graphs: first })) {
    const node = graph.tensors[id]!;
    const [to] = tapOf(node);
    if (to === undefined) continue;
    parents[to] = [...new Set(sources.flatMap(read))].filter((source) => source !== to);
    const weights = sources.flatMap(({ leaf }) =>
      leaf?.weight === undefined ? [] : [{ name: leaf.weight, type: leaf.type as string }],
    );
    const isCopy = MOVES.has(node.op) && weights.length === 0;
    const copyOf = isCopy && sources[0] !== undefined ? read(sources[0])[0] : undefined;
    nodes.set(to, { id, op: node.op, params: node.params, weights, copyOf });
  }
  return { parents, nodes };
}
