/** Which values of a run are written: those that were asked for, and what is needed to compute them again. */
import type { RecordedGraph, RecordedTensor } from './recorded-graph.js';
import type { TapPlan } from './tap-plan.js';

/**
 * Narrows a plan to the taps that a pattern names, and all that their nodes read: sources, and what was
 * written into a cache before.
 * @returns the plan, and the taps that no kept node reads.
 */
export function narrowPlan(
  plan: TapPlan,
  { tensors, graphs }: { tensors: readonly RecordedTensor[]; graphs: readonly RecordedGraph[] },
  matches: (name: string) => boolean,
): { plan: TapPlan; unread: ReadonlySet<string> } {
  const owner = (id: number): number => tensors[id]!.viewSrc ?? id;
  /** Nodes that write into the memory of another tensor. */
  const writers = new Map<number, number[]>();
  for (const { id, kind } of tensors)
    if (kind === 'node' && owner(id) !== id) {
      const known = writers.get(owner(id));
      if (known === undefined) writers.set(owner(id), [id]);
      else known.push(id);
    }
  const tapOf = (id: number) => plan.values.get(id)?.tap;
  const read = new Set<string>();
  const seen = new Set<number>();
  const need = (id: number): void => {
    if (seen.has(id)) return;
    seen.add(id);
    const tap = tapOf(id);
    if (tap !== undefined) read.add(tap);
    for (const writer of writers.get(id) ?? []) {
      need(writer);
      // Where it writes.
      const rows = tensors[writer]!.op === 'SET_ROWS' ? tensors[writer]!.src[1] : null;
      if (rows != null) need(owner(rows));
    }
  };
  const chosen = new Set<string>();
  for (const { nodes, leaves } of graphs)
    for (const id of [...leaves, ...nodes]) {
      const tap = tapOf(id);
      if (tap === undefined || !matches(tap)) continue;
      chosen.add(tap);
      const { src } = tensors[id]!;
      for (const source of [...src, owner(id) === id ? null : id]) if (source !== null) need(owner(source));
    }
  const kept = (tap: string) => chosen.has(tap) || read.has(tap);
  const values = new Map([...plan.values].filter(([, { tap }]) => kept(tap)));
  const expected = graphs.map(() => new Map<number | null, number>());
  for (const { block, graph } of values.values()) {
    const waiting = expected[graph]!;
    waiting.set(block, (waiting.get(block) ?? 0) + 1);
  }
  return {
    plan: { taps: plan.taps.filter(({ name }) => kept(name)), values, expected },
    unread: new Set([...chosen].filter((tap) => !read.has(tap))),
  };
}
