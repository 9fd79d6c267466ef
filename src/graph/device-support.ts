import { ZayascopeError } from '../errors.js';
import type { NativeContext } from '../native.js';
import type { Backend } from './backend.js';
import { VIEW_OPS } from './ops.js';
import { formatShape } from './shape.js';
import type { Tensor } from './tensor.js';

/** A node that a device has no kernel for. */
export interface UnsupportedNode {
  /** Name of the node, which begins with the value that it computes. */
  node: string;
  op: string;
  /** Shapes and dtypes of operands and result. */
  operands: string;
  reason: string;
}

/** The nodes of a graph that the device says it does not run. The CPU runs all that the rules of the op functions allow: there ggml's answer is no guide. */
export function unsupportedNodes(
  { device, native: handle }: Backend,
  nodes: readonly Tensor[],
  context: NativeContext,
  handles: readonly number[],
): UnsupportedNode[] {
  if (device.type === 'cpu') return [];
  return nodes
    .filter(({ op }) => op !== 'input' && op !== 'resident' && !VIEW_OPS.has(op))
    .filter(({ id }) => !handle.supportsOp(context, handles[id]!))
    .map((node) => {
      const dtypes = node.sources.map(({ dtype }) => dtype).join(' and ');
      return {
        node: node.name,
        op: node.op,
        operands: [...node.sources, node]
          .map(({ shape, dtype }) => `${formatShape(shape)} ${dtype}`)
          .join(', '),
        reason: `${device.name} has no kernel for ${node.op} of ${dtypes} to ${node.dtype}, with these sizes and strides`,
      };
    });
}

/** Throws `BACKEND` if there is one; {@link unsupportedOf} gives the list back. */
export function requireSupported(label: string, nodes: readonly UnsupportedNode[]): void {
  const [first] = nodes;
  if (first === undefined) return;
  throw new ZayascopeError(
    'BACKEND',
    `compileGraphs: expected a device that runs every op, got ${nodes.length} that it does not, first ${first.node}: ${first.reason} (graph ${label}); \`zayascope doctor --model\` lists them`,
    { op: first.op, tensor: first.node, cause: nodes },
  );
}

/** The list behind an error of {@link requireSupported}; undefined for other errors. */
export function unsupportedOf(error: unknown): readonly UnsupportedNode[] | undefined {
  return error instanceof ZayascopeError && Array.isArray(error.cause)
    ? (error.cause as UnsupportedNode[])
    : undefined;
}
