/** What each node of a recorded graph reads, through views and through memory that nodes have written. */
import { type DumpGraph, type GraphTensor, ownerOf } from '../dump/graph-file.js';
import { isNotRun } from './quiet-ops.js';
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
  for (const { nodes } of graphs)
    for (const id of nodes) {
      const node = tensors[id]!;
      if (isNotRun(node.op)) continue;
      sources.set(
        id,
        node.src.flatMap((source): NodeSource[] => {
          if (source === null) return [];
          const tensor = tensors[source]!;
          const memory = ownerOf(tensor, tensors);
          return [{ tensor, ...readThrough(tensor, memory, written.get(memory.id) ?? []) }];
        }),
      );
      const memory = ownerOf(node, tensors);
      const write = { id, ...rangeOf(node, memory) };
      const before = written.get(memory.id) ?? [];
      // A SET_ROWS writes some rows of what its result is; the others stay what they were.
      const covers = (each: Write) =>
        node.op !== 'SET_ROWS' && write.begin <= each.begin && each.end <= write.end;
      written.set(memory.id, [...before.filter((each) => !covers(each)), write]);
    }
  return sources;
}

/** Which nodes read what each node wrote, by its id, in the order in which they ran. */
export function nodeReaders(sources: ReadonlyMap<number, readonly NodeSource[]>): Map<number, number[]> {
  const readers = new Map<number, number[]>();
  for (const [id, read] of sources)
    for (const writer of new Set(read.flatMap(({ writers }) => writers))) {
      const known = readers.get(writer);
      if (known === undefined) readers.set(writer, [id]);
      else known.push(id);
    }
  return readers;
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
  return { writers: read.map(({ id }) => id), leaf: hasLeaf ? memory : undefined };
}

/** Bytes of its memory between a tensor's first and its last. */
function rangeOf(tensor: GraphTensor, memory: GraphTensor): { begin: number; end: number } {
  const begin = tensor === memory ? 0 : (tensor.viewOffs ?? 0);
  return { begin, end: begin + spanOf({ ...tensor, dtype: tensor.type }) };
}
