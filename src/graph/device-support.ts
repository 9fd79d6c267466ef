import { ZayascopeError } from '../errors.js';
import type { NativeContext } from '../native.js';
import type { Backend } from './backend.js';
import { backendKind } from './backend-library.js';
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

/** Most rows that Vulkan multiplies with its kernel for vectors. */
const VECTOR_ROWS = 8;

/** Nodes that a kind of device says it runs, and then aborts the process: found by `conformance`. */
const ABORTING: Readonly<Record<string, (node: Tensor) => boolean>> = {
  // Its kernel for vectors has no form for a BF16 right side; where it takes that kernel for a batch is not
  // known, so that all small products are refused.
  vulkan: ({ op, sources }) =>
    op === 'mulMat' && sources[1]!.dtype === 'BF16' && (sources[1]!.shape.at(-2) ?? 1) <= VECTOR_ROWS,
};

/**
 * The nodes of a graph that the device says it does not run, or is known to abort on. The CPU runs all that
 * the rules of the op functions allow: there ggml's answer is no guide.
 */
export function unsupportedNodes(
  { device, native: handle }: Backend,
  nodes: readonly Tensor[],
  context: NativeContext,
  handles: readonly number[],
): UnsupportedNode[] {
  if (device.type === 'cpu') return [];
  const aborts = ABORTING[backendKind(device.backend)] ?? (() => false);
  return nodes
    .filter(({ op }) => op !== 'input' && op !== 'resident' && !VIEW_OPS.has(op))
    .filter((node) => aborts(node) || !handle.supportsOp(context, handles[node.id]!))
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
