import type { Graph } from '../graph/graph.js';
import { concat, cont, permute, slice } from '../graph/ops-layout.js';
import type { Tensor } from '../graph/tensor.js';

/**
 * What happens at the named values of a model: the only seam between the model file and everything that watches or changes it. An observer answers `wants`; replacing a value
 * (graft) or rounding it is done by `apply`, which returns the tensor that the model goes on with.
 */
export interface Taps {
  /** True if the value is to be readable after the run. A value that nothing wants and nothing changes costs nothing. */
  wants(name: string): boolean;
  /** The tensor to go on with; identity if absent. Must keep shape and dtype. */
  apply?(name: string, value: Tensor): Tensor;
}

/** Taps that nobody watches. */
export const NO_TAPS: Taps = { wants: () => false };

/** Passes a value through the seam. */
export function tap(graph: Graph, taps: Taps, name: string, value: Tensor): Tensor {
  const used = taps.apply?.(name, value) ?? value;
  if (taps.wants(name)) graph.output(name, cont(used));
  return used;
}

/** As {@link tap}, for a value that the model holds in another order of axes than its name promises: `order` leads from the model's axes to the name's. */
export function tapPermuted(
  graph: Graph,
  taps: Taps,
  name: string,
  value: Tensor,
  order: readonly number[],
): Tensor {
  const shown = permute(value, order);
  const used = tap(graph, taps, name, shown);
  if (used === shown) return value;
  const back = order.map((_, axis) => order.indexOf(axis));
  return cont(permute(used, back));
}

/** As {@link tap}, for consecutive rows of one value that have names of their own: `rows` [name, count] in order, counts adding up to the first axis. */
export function tapRows(
  graph: Graph,
  taps: Taps,
  value: Tensor,
  rows: readonly (readonly [string, number])[],
): Tensor {
  let start = 0;
  const shown: Tensor[] = [];
  const used: Tensor[] = [];
  for (const [name, count] of rows) {
    if (count === 0) continue;
    const part = slice(value, 0, start, start + count);
    start += count;
    shown.push(part);
    used.push(tap(graph, taps, name, part));
  }
  if (used.every((part, index) => part === shown[index])) return value;
  return used.reduce((joined, part) => concat(joined, part, 0));
}
