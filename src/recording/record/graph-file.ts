/** What a recording's graph file holds, and the roles that libllama's names tell. */
import type { DumpGraph, GraphTensor } from '../../dump/graph-file.js';
import type { DumpRoles } from '../../dump/roles.js';
import type { GraphCollector } from './recorded-graph.js';
import type { TapPlan } from './tap-plan.js';

/** What libllama calls the head's output, and the stream that a block passes on. */
export function rolesOf({ taps }: TapPlan): DumpRoles {
  const named = (pattern: RegExp) => taps.map(({ name }) => name).filter((name) => pattern.test(name));
  const roles = { logits: named(/^result_output$/), residual: named(/^l_out-\d+$/) };
  return Object.fromEntries(Object.entries(roles).filter(([, names]) => names.length > 0));
}

/** `graph.json`: every tensor, with the tap or the weight that holds its value. */
export function graphFile(
  weights: { tensors: ReadonlyMap<string, { dtype: string }> },
  { tensors, graphs }: Pick<GraphCollector, 'tensors' | 'graphs'>,
  plan: TapPlan,
): DumpGraph {
  return {
    version: 1,
    tensors: tensors.map(({ kind, isZero, viewSrc, viewOffs, buffer, ...tensor }): GraphTensor => {
      const planned = plan.values.get(tensor.id);
      const isWeight = kind === 'weight' && weights.tensors.get(tensor.name)?.dtype === tensor.type;
      return {
        ...tensor,
        ...(viewSrc === undefined ? {} : { viewSrc, viewOffs: viewOffs ?? 0 }),
        buffer: buffer === '' ? undefined : buffer,
        ...(planned && { tap: planned.tap, axes: planned.axes }),
        weight: isWeight ? tensor.name : undefined,
        state: kind === 'state' ? (isZero ? ('zero' as const) : ('tap' as const)) : undefined,
      };
    }),
    graphs: graphs.map(({ nodes }, step) => ({ step, nodes })),
  };
}
