/** What each node of a recorded graph reads, through views and through memory that nodes have written. */
import { type DumpGraph, type GraphTensor, ownerOf } from '../dump/graph-file.js';
import { isNotRun } from './quiet-ops.js';
import { spanOf } from './replay/strided.js';

/** What one source of a node is. */
export interface NodeSource {
  /** The tensor that the node names as its source: a node, a leaf, or a view of either. */
  readonly tensor: GraphTensor;
  /**
   * Nodes that wrote what it reads, in the order in which they ran; none of leaves that nothing wrote. Looked
   * up anew each time: a cache has as many as there were steps before.
   */
  readonly writers: readonly number[];
  /** The leaf that part of what it reads still is, where there is one: a weight, an input, a state. */
  readonly leaf: GraphTensor | undefined;
}

/** Which nodes read what a node wrote. */
export interface NodeReaders {
  /** In the order in which they ran, each once. */
  of(id: number): Iterable<number>;
}

/** Bytes of its memory between a tensor's first and its last. */
interface Span {
  begin: number;
  end: number;
}

interface Write extends Span {
  id: number;
  /** The number of the writing node, and of the one that wrote over all of it. */
  order: number;
  until: number;
}

/** What was done with one memory, in order. */
interface Uses {
  reads: Read[];
  /** What is still there. Only appended to, or replaced: reads keep it, with its length. */
  writes: Write[];
}

/** Sources of every node that computes, by its id, in the order in which the graphs ran. */
export class NodeSources extends Map<number, readonly NodeSource[]> {
  readonly uses = new Map<number, Uses>();
  /** What each node wrote, and where. */
  readonly written = new Map<number, { write: Write; memory: number }>();

  usesOf({ id }: GraphTensor): Uses {
    const known = this.uses.get(id) ?? { reads: [], writes: [] };
    this.uses.set(id, known);
    return known;
  }
}

/** States keep from step to step what nodes wrote into them. Takes a time that grows with the nodes. */
export function nodeSources({ tensors, graphs }: DumpGraph): NodeSources {
  const sources = new NodeSources();
  let order = 0;
  for (const { nodes } of graphs)
    for (const id of nodes) {
      const node = tensors[id]!;
      if (isNotRun(node.op)) continue;
      order++;
      const own: Read[] = [];
      for (const source of node.src) {
        if (source === null) continue;
        const tensor = tensors[source]!;
        const memory = ownerOf(tensor, tensors);
        const uses = sources.usesOf(memory);
        const read = new Read(id, order, tensor, memory, uses.writes);
        uses.reads.push(read);
        own.push(read);
      }
      sources.set(id, own);
      const memory = ownerOf(node, tensors);
      const uses = sources.usesOf(memory);
      const write = { id, order, until: Number.POSITIVE_INFINITY, ...rangeOf(node, memory) };
      // A SET_ROWS writes some rows of what its result is; the others stay what they were.
      if (node.op !== 'SET_ROWS') writeOver(uses, write);
      uses.writes.push(write);
      sources.written.set(id, { write, memory: memory.id });
    }
  return sources;
}

/** Which nodes read what each node wrote. */
export function nodeReaders({ uses, written }: NodeSources): NodeReaders {
  return {
    *of(id) {
      const known = written.get(id);
      if (known === undefined) return;
      const { reads } = uses.get(known.memory)!;
      let last: number | undefined;
      for (let k = firstAfter(reads, known.write.order); k < reads.length; k++) {
        const read = reads[k]!;
        if (read.order > known.write.until) return;
        if (read.reader === last || !overlap(read, known.write)) continue;
        last = read.reader;
        yield last;
      }
    },
  };
}

function writeOver(uses: Uses, write: Write): void {
  const isLeft = (each: Write) => each.begin < write.begin || write.end < each.end;
  if (uses.writes.every(isLeft)) return;
  for (const each of uses.writes) if (!isLeft(each)) each.until = write.order;
  uses.writes = uses.writes.filter(isLeft);
}

/** One source, with what its memory held when its node ran. */
class Read implements NodeSource, Span {
  readonly begin: number;
  readonly end: number;
  readonly reader: number;
  readonly order: number;
  readonly tensor: GraphTensor;
  readonly #memory: GraphTensor;
  readonly #writes: readonly Write[];
  readonly #count: number;

  constructor(
    reader: number,
    order: number,
    tensor: GraphTensor,
    memory: GraphTensor,
    writes: readonly Write[],
  ) {
    this.reader = reader;
    this.order = order;
    this.tensor = tensor;
    this.#memory = memory;
    this.#writes = writes;
    this.#count = writes.length;
    ({ begin: this.begin, end: this.end } = rangeOf(tensor, memory));
  }

  get writers(): readonly number[] {
    const ids: number[] = [];
    for (let k = 0; k < this.#count; k++) if (overlap(this.#writes[k]!, this)) ids.push(this.#writes[k]!.id);
    return ids;
  }

  get leaf(): GraphTensor | undefined {
    const memory = this.#memory;
    if (memory.op !== 'NONE') return undefined;
    if (memory.state !== undefined) return memory;
    for (let k = 0; k < this.#count; k++) {
      const { begin, end } = this.#writes[k]!;
      if (begin <= this.begin && this.end <= end) return undefined;
    }
    return memory;
  }
}

function overlap(a: Span, b: Span): boolean {
  return a.begin < b.end && b.begin < a.end;
}

/** The first read after the node of that number, by bisection. */
function firstAfter(reads: readonly Read[], order: number): number {
  let [low, high] = [0, reads.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reads[middle]!.order > order) high = middle;
    else low = middle + 1;
  }
  return low;
}

function rangeOf(tensor: GraphTensor, memory: GraphTensor): Span {
  const begin = tensor === memory ? 0 : (tensor.viewOffs ?? 0);
  return { begin, end: begin + spanOf({ ...tensor, dtype: tensor.type }) };
}
