import type { Graph } from '../../graph/graph.js';
import { VIEW_OPS } from '../../graph/ops.js';
import { concat, cont, copy, reshape, slice } from '../../graph/ops-layout.js';
import type { Shape } from '../../graph/shape.js';
import type { Tensor } from '../../graph/tensor.js';

/**
 * What happens at the named values of a model: the only seam between the model file and everything that
 * watches or changes it. An observer answers `wants`; replacing a value (graft) or rounding it is done by
 * `apply`, which returns the tensor that the model goes on with.
 */
export interface Taps {
  /**
   * True if the value is to be readable after the run. A value that nothing wants and nothing changes costs
   * nothing.
   */
  wants(name: string): boolean;
  /**
   * The contiguous tensor that shows a value: default the value itself, or a copy where it is strided or may
   * be replaced later.
   */
  show?(value: Tensor): Tensor;
  /** The tensor to go on with; identity if absent. Must keep shape and dtype. */
  apply?(name: string, value: Tensor): Tensor;
  /**
   * Told of every value in the order in which the model file makes them, with its axes, e.g. `T,nq,d`: what a
   * trace is made of.
   */
  declare?(name: string, axes: string, value: Tensor): void;
}

/** Taps that nobody watches. */
export const NO_TAPS: Taps = { wants: () => false };

/**
 * Passes a value through the seam. What is shown is the value computed here, also where another one takes its
 * place.
 */
export function tap(graph: Graph, taps: Taps, name: string, value: Tensor, axes: string): Tensor {
  taps.declare?.(name, axes, value);
  // A state is replaced later in the run: what is shown is its value at this point.
  const show = taps.show ?? ((shown) => (looksAtResident(shown) ? copy(shown) : cont(shown)));
  if (taps.wants(name)) graph.output(name, show(value));
  return taps.apply?.(name, value) ?? value;
}

/** True for resident memory and views of it. */
function looksAtResident(value: Tensor): boolean {
  return value.op === 'resident' || (VIEW_OPS.has(value.op) && looksAtResident(value.sources[0]!));
}

/**
 * As {@link tap}, for a value that the model holds in another layout than its name promises: `shown` leads to
 * the promised one and `back` from there. Neither is built unless the value is wanted or may be changed.
 */
export function tapAs(
  graph: Graph,
  taps: Taps,
  name: string,
  value: Tensor,
  axes: string,
  shown: (value: Tensor) => Tensor,
  back: (value: Tensor) => Tensor,
): Tensor {
  if (taps.apply === undefined && !taps.wants(name)) return value;
  const view = shown(value);
  const used = tap(graph, taps, name, view, axes);
  return used === view ? value : back(used);
}

/**
 * As {@link tap}, for consecutive parts of one value along an axis that have names of their own: `parts`
 * [name, count, shape to show it in, axes] in order, counts adding up to the axis.
 */
export function tapParts(
  graph: Graph,
  taps: Taps,
  value: Tensor,
  axis: number,
  parts: readonly (readonly [name: string, count: number, shape: Shape, axes: string])[],
): Tensor {
  if (taps.apply === undefined && !parts.some(([name]) => taps.wants(name))) return value;
  let start = 0;
  let changed = false;
  const used: Tensor[] = [];
  for (const [name, count, shape, axes] of parts) {
    if (count === 0) continue;
    const part = slice(value, axis, start, start + count);
    start += count;
    const shown = reshape(cont(part), shape);
    const result = tap(graph, taps, name, shown, axes);
    changed ||= result !== shown;
    used.push(result === shown ? part : reshape(result, part.shape));
  }
  return changed ? used.reduce((joined, part) => concat(joined, part, axis)) : value;
}
