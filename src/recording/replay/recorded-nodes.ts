/** Which nodes of a recording hold what it takes to run them again. */

import { type DumpGraph, type GraphTensor, ownerOf } from '../../dump/graph-file.js';
import type { Dump } from '../../dump/reader.js';
import { isNotRun } from '../quiet-ops.js';

/**
 * The nodes that cannot be run again, because they or something that they read were not recorded, by id, with
 * what is lacking. None of a complete recording of all taps: what one of those lacks, it has lost.
 */
export async function unrecordedNodes(
  dump: Dump,
  { tensors, graphs }: DumpGraph,
): Promise<ReadonlyMap<number, string>> {
  const lacking = new Map<number, string>();
  const { status, selection } = dump.manifest;
  if (status === 'complete' && selection.taps === '**') return lacking;
  const steps = new Map<string, ReadonlySet<number>>();
  const hasValue = async ({ tap }: GraphTensor, step: number): Promise<boolean> => {
    if (tap === undefined) return false;
    if (status === 'complete') return true;
    const { file } = dump.tap(tap);
    if (!steps.has(file)) steps.set(file, new Set((await dump.rows(tap)).step));
    return steps.get(file)!.has(step);
  };
  /** Memory that something has written which was not recorded, or that nothing holds. */
  const unknown = new Set<number>();
  for (const { step, nodes } of graphs) {
    for (const id of nodes) {
      const node = tensors[id]!;
      if (isNotRun(node.op)) continue;
      const owner = ownerOf(node, tensors);
      const isOwn = owner.id === id;
      const sources = [...node.src.filter((source) => source !== null), ...(isOwn ? [] : [owner.id])];
      for (const source of sources) {
        const memory = ownerOf(tensors[source]!, tensors);
        if (memory.op === 'NONE' && !(await isHeld(memory, step, hasValue))) unknown.add(memory.id);
      }
      const lost = sources
        .map((source) => ownerOf(tensors[source]!, tensors))
        .find((memory) => unknown.has(memory.id));
      if (!(await hasValue(node, step))) {
        unknown.add(owner.id);
        lacking.set(id, 'its value was not recorded');
      } else if (lost !== undefined)
        lacking.set(id, `${lost.tap ?? lost.name}, which it reads, was not recorded`);
    }
  }
  return lacking;
}

/** Whether a leaf's value is at hand: in the model's file, in a tap, zeros, or never read. */
async function isHeld(
  leaf: GraphTensor,
  step: number,
  hasValue: (tensor: GraphTensor, step: number) => Promise<boolean>,
): Promise<boolean> {
  if (leaf.weight !== undefined || leaf.state === 'zero') return true;
  if (leaf.state === 'tap') return leaf.tap !== undefined;
  return leaf.buffer === undefined || hasValue(leaf, step);
}
