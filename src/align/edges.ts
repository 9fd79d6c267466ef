/** What each value of a dump was computed from: by the manifest's edges, or by the graph of a recording. */
import type { DumpGraph, GraphTensor } from '../dump/graph-file.js';
import type { Dump } from '../dump/reader.js';
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

function graphEdges(dump: Dump, { tensors, graphs }: DumpGraph): SideEdges {
  const indexOf = new Map(dump.taps.map(({ name }, index) => [name, index]));
  const parents = dump.taps.map((): number[] => []);
  const nodes = new Map<number, NodeOfValue>();
  const step = graphs.find((graph) => graph.step === 0);
  /** The last value written into each state, such as a cache. */
  const writers = new Map<number, number>();
  for (const id of step?.nodes ?? []) {
    const tensor = tensors[id]!;
    const to = tensor.tap === undefined ? undefined : indexOf.get(tensor.tap);
    if (to === undefined) continue;
    const from = sourcesOf(tensor, tensors, indexOf, writers);
    parents[to] = [...new Set(from)].filter((source) => source !== to);
    const weights = tensor.src.flatMap((source) => {
      const read = source === null ? undefined : rootOf(tensors[source]!, tensors);
      return read?.weight === undefined ? [] : [{ name: read.weight, type: read.type as string }];
    });
    const isCopy = MOVES.has(tensor.op) && weights.length === 0;
    const [first] = sourcesOf({ ...tensor, src: tensor.src.slice(0, 1) }, tensors, indexOf, writers);
    nodes.set(to, { id, op: tensor.op, params: tensor.params, weights, copyOf: isCopy ? first : undefined });
    if (tensor.viewSrc != null) writers.set(rootOf(tensor, tensors).id, to);
  }
  return { parents, nodes };
}

/** Taps that a node reads, through views; of a state what was last written into it. */
function sourcesOf(
  { src }: GraphTensor,
  tensors: readonly GraphTensor[],
  indexOf: ReadonlyMap<string, number>,
  writers: ReadonlyMap<number, number>,
): number[] {
  const found: number[] = [];
  for (const source of src) {
    if (source === null) continue;
    let tensor = tensors[source]!;
    while (
      tensor.tap === undefined &&
      (tensor.viewSrc != null || tensor.src[0] != null) &&
      tensor.op !== 'NONE'
    )
      tensor = tensors[(tensor.src[0] ?? tensor.viewSrc)!]!;
    const written = writers.get(rootOf(tensor, tensors).id);
    if (written !== undefined && tensor.op === 'NONE') found.push(written);
    else if (tensor.tap !== undefined && indexOf.has(tensor.tap)) found.push(indexOf.get(tensor.tap)!);
  }
  return found;
}

/** The tensor whose memory this one has. */
function rootOf(tensor: GraphTensor, tensors: readonly GraphTensor[]): GraphTensor {
  let root = tensor;
  while (root.viewSrc != null) root = tensors[root.viewSrc]!;
  return root;
}
