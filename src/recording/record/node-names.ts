/**
 * Names of the values of a recording: ggml's, `#k` for the k-th use in a graph, `~N` (the node's number) for
 * one that ggml has cut; and the block that each belongs to.
 */
import type { RecordedGraph, RecordedTensor } from './recorded-graph.js';

/** ggml keeps 63 bytes of a name. */
const CUT_AT = 63;
const BLOCK_OF_WEIGHT = /^blk\.(\d+)\./;
const BLOCK_OF_STATE = /_l(\d+)$/;
const BLOCK_OF_NODE = /-(\d+)(?: \([^)]*\))*$/;

/** Name and block of a value. */
export interface ValueName {
  name: string;
  /** Null for values of no block: inputs, the embedding, the head. */
  block: number | null;
}

/** Names the nodes, inputs and states of one graph. Views have none: they hold no value of their own. */
export function nameValues(
  graph: RecordedGraph,
  tensors: readonly RecordedTensor[],
): ReadonlyMap<number, ValueName> {
  const uses = new Map<string, number>();
  const names = new Map<number, ValueName>();
  const add = (tensor: RecordedTensor, place: number, block: number | null): void => {
    const base = baseName(tensor, place);
    const use = (uses.get(base) ?? 0) + 1;
    uses.set(base, use);
    names.set(tensor.id, { name: use === 1 ? base : `${base}#${use}`, block });
  };
  for (const id of graph.leaves) {
    const tensor = tensors[id]!;
    if (tensor.kind !== 'weight') add(tensor, id, numberIn(BLOCK_OF_STATE, tensor.name));
  }
  let block: number | null = null;
  for (const [place, id] of graph.nodes.entries()) {
    const tensor = tensors[id]!;
    if (tensor.kind !== 'node') continue;
    block = blockOf(tensor, tensors, block);
    add(tensor, place, block);
  }
  return names;
}

function baseName({ name, op }: RecordedTensor, place: number): string {
  const printable = name.replaceAll(/[\p{Cc}\p{Cs}]/gu, '?') || op.toLowerCase();
  const isCut = new TextEncoder().encode(name).byteLength >= CUT_AT;
  return isCut ? `${printable}~${place}` : printable;
}

/**
 * By its weight, else its name, else the node before; the weights of the head and the embedding have none.
 */
function blockOf(
  node: RecordedTensor,
  tensors: readonly RecordedTensor[],
  before: number | null,
): number | null {
  for (const id of node.src) {
    const source = id === null ? undefined : tensors[id]!;
    if (source?.kind === 'weight') return numberIn(BLOCK_OF_WEIGHT, source.name);
  }
  return numberIn(BLOCK_OF_NODE, node.name) ?? before;
}

function numberIn(pattern: RegExp, text: string): number | null {
  const found = pattern.exec(text)?.[1];
  // Beyond what a file name of a dump holds it is no block.
  return found === undefined || found.length > 6 ? null : Number(found);
}
