/** What each node of a recorded graph reads, through views and through memory that nodes have written. */
import type { DumpGraph, GraphTensor } from '../dump/graph-file.js';
import { VIEW_OPS } from './quiet-ops.js';
import { spanOf } from './replay/strided.js';

/** What one source of a node is. */
export interface NodeSource {
  /** The tensor that the node names as its source: a node, a leaf, or a view of either. */
  tensor: GraphTensor;
  /** Nodes that wrote what it reads, in the order in which they ran; none of leaves that nothing wrote. */
  writers: readonly number[];
  /** The leaf that part of what it reads still is, where there is one: a weight, an input, a state. */
  leaf?: GraphTensor;
}

interface Write {
  id: number;
  begin: number;
  end: number;
}

/**
 * Sources of every node that computes, by its id, in the order in which the graphs ran. States keep from step
 * to step what nodes wrote into them.
 */
export function nodeSources({ tensors, graphs }: DumpGraph): Map<number, NodeSource[]> {
  const written = new Map<number, Write[]>();
  const sources = new Map<number, NodeSource[]>();
  const owner = (tensor: GraphTensor): GraphTensor =>
    tensor.viewSrc == null ? tensor : tensors[tensor.viewSrc]!;
  for (const { nodes } of graphs)
    for (const id of nodes) {
      const node = tensors[id]!;
      if (node.op === 'NONE' || VIEW_OPS.has(node.op)) continue;
      sources.set(
        id,
        node.src.flatMap((source): NodeSource[] => {
          if (source === null) return [];
          const tensor = tensors[source]!;
          return [{ tensor, ...readThrough(tensor, owner(tensor), written.get(owner(tensor).id) ?? []) }];
        }),
      );
      const memory = owner(node);
      const write = { id, ...rangeOf(node, memory) };
      const before = written.get(memory.id) ?? [];
      // A SET_ROWS writes some rows of what its result is; the others stay what they were.
      const covers = (each: Write) =>
        node.op !== 'SET_ROWS' && write.begin <= each.begin && each.end <= write.end;
      written.set(memory.id, [...before.filter((each) => !covers(each)), write]);
    }
  return sources;
}

function readThrough(
  tensor: GraphTensor,
  memory: GraphTensor,
  writes: readonly Write[],
): Pick<NodeSource, 'writers' | 'leaf'> {
  const { begin, end } = rangeOf(tensor, memory);
  const read = writes.filter((write) => write.begin < end && begin < write.end);
  const isWhole = read.some((write) => write.begin <= begin && end <= write.end);
  const hasLeaf = memory.op === 'NONE' && (memory.state !== undefined || !isWhole);
  return { writers: read.map(({ id }) => id), ...(hasLeaf && { leaf: memory }) };
}

/** Bytes of its memory between a tensor's first and its last. */
function rangeOf(tensor: GraphTensor, memory: GraphTensor): { begin: number; end: number } {
  const begin = tensor === memory ? 0 : (tensor.viewOffs ?? 0);
  return { begin, end: begin + spanOf({ ...tensor, dtype: tensor.type }) };
}
