/** How much of the error of the last logits each node of a recording makes. */
import type { DumpGraph, GraphTensor } from '../../dump/graph-file.js';
import { type ErrorNode, errorShares } from '../../error-shares.js';
import type { NodeSource } from '../edges.js';
import { COPY_OPS } from '../quiet-ops.js';
import type { WholeError } from './comparison.js';
import type { JudgedNode } from './locate.js';

/** Ops in which the errors of their operands add up. */
const SUMS: ReadonlySet<string> = new Set([
  'ADD',
  'ADD1',
  'ADD_ID',
  'SUB',
  'CONCAT',
  'ACC',
  'SET',
  ...COPY_OPS,
]);

/**
 * Estimated shares ({@link errorShares}) of the error of a value, by node id; empty where it has none. A node
 * that the reference lacks passes on what it reads, or where it is at fault makes all that follows.
 */
export function nodeShares(
  graph: DumpGraph,
  sources: ReadonlyMap<number, readonly NodeSource[]>,
  nodes: readonly JudgedNode[],
  whole: ReadonlyMap<number, WholeError>,
  target: JudgedNode | undefined,
): Map<number, number> {
  if (target === undefined) return new Map();
  // Nobody knows how much it errs; nothing weighs more.
  const extra = { nmse: Number.POSITIVE_INFINITY, energy: 0 };
  const errors = new Map(whole);
  for (const { id, isFault } of nodes) if (isFault && !whole.has(id)) errors.set(id, extra);
  const inputs = new Map<number, readonly number[]>();
  const added = new Map(nodes.map(({ id, addedError }) => [id, addedError ?? Number.POSITIVE_INFINITY]));
  const known: ErrorNode<number>[] = [];
  for (const [id, own] of sources) {
    const node = graph.tensors[id]!;
    // A cache was written by as many nodes as there were steps: the lists are made when they are walked.
    const before = (): readonly number[] => {
      const read = valueSources(node, own).flatMap(({ writers }) => writers);
      return [...new Set(read.flatMap((each) => (errors.has(each) ? [each] : inputs.get(each)!)))];
    };
    const error = errors.get(id);
    if (error === undefined) {
      inputs.set(id, before());
      continue;
    }
    known.push({
      key: id,
      cumulative: error.nmse,
      energy: error.energy,
      local: added.get(id) ?? 0,
      get inputs() {
        return before();
      },
      joining: SUMS.has(node.op) ? 'sum' : 'product',
    });
  }
  return errorShares(known, target.id);
}

/** Of a SET_ROWS, whose recorded value is the rows that it wrote, only those. */
function valueSources({ op }: GraphTensor, sources: readonly NodeSource[]): readonly NodeSource[] {
  return op === 'SET_ROWS' ? sources.slice(0, 1) : sources;
}
