/**
 * Reverse mode: the gradient of a graph as further nodes of the same graph, made of the same vocabulary, so
 * that every device that runs the graph runs its backward. Gradients are F32.
 *
 * Choices are constants: nothing flows through indices. Rounding passes gradients as they are.
 */
import { ZayascopeError } from '../../errors.js';
import type { Graph } from '../graph.js';
import type { OpName } from '../ops.js';
import { add } from '../ops-arithmetic.js';
import { reshape } from '../ops-layout.js';
import type { Tensor } from '../tensor.js';
import { ARITHMETIC } from './arithmetic.js';
import { LAYOUT } from './layout.js';
import { plain } from './pieces.js';
import { PRODUCTS } from './products.js';
import { ROWS } from './rows.js';
import type { BackwardRule } from './rules.js';

export { constantValues } from './pieces.js';

const RULES: Readonly<Partial<Record<OpName, BackwardRule>>> = {
  ...ARITHMETIC,
  ...LAYOUT,
  ...ROWS,
  ...PRODUCTS,
};

/** Ops with a backward. */
export const DIFFERENTIABLE = Object.keys(RULES) as readonly OpName[];

/** Ops whose results are choices or indices: constants to a gradient. */
const CONSTANT: ReadonlySet<string> = new Set<OpName>(['argmax', 'argsort']);

/** What {@link adjoint} is asked. */
export interface AdjointOptions {
  /**
   * By value: what arrives at it from outside, in its shape; the gradients are those of the sum of
   * ⟨value, seed⟩ over all seeds.
   */
  seeds: ReadonlyMap<Tensor, Tensor>;
  /** Values whose gradients are asked for. */
  wanted: Iterable<Tensor>;
  /**
   * Values that stand for computed ones, as grafts do: what arrives at one goes on to what it stands for.
   * Default: none.
   */
  standsFor?: ReadonlyMap<Tensor, Tensor>;
}

/**
 * Adds the backward of a graph to it and gives the gradients of what was asked for: F32, contiguous; of
 * values on which no seed depends there is none. Inputs that it adds are filled from `constantValues`.
 *
 * @throws `DTYPE_UNSUPPORTED` or `SHAPE_MISMATCH` for an op on the way that has no backward of its operands.
 */
export function adjoint(
  graph: Graph,
  { seeds, wanted, standsFor = new Map() }: AdjointOptions,
): ReadonlyMap<Tensor, Tensor> {
  const forward = [...graph.tensors];
  const asked = new Set(wanted);
  const leads = new Set(asked);
  const sourcesOf = (node: Tensor) => {
    const stood = standsFor.get(node);
    return CONSTANT.has(node.op) ? [] : stood === undefined ? node.sources : [stood];
  };
  for (const node of forward)
    if (node.dtype !== 'I32' && sourcesOf(node).some((source) => leads.has(source))) leads.add(node);
  const gradients = new Map<Tensor, Tensor>();
  const arrive = (value: Tensor, gradient: Tensor) => {
    const known = gradients.get(value);
    gradients.set(value, known === undefined ? gradient : add(known, gradient));
  };
  graph.scope('adjoint');
  for (const [value, seed] of seeds) arrive(value, reshape(plain(seed), value.shape));
  for (const node of forward.toReversed()) {
    const gradient = gradients.get(node);
    if (gradient === undefined || !sourcesOf(node).some((source) => leads.has(source))) continue;
    const stood = standsFor.get(node);
    if (stood !== undefined) arrive(stood, reshape(gradient, stood.shape));
    else
      for (const [index, part] of ruleOf(node)(node, gradient, (source) => leads.has(source)).entries()) {
        const source = node.sources[index]!;
        if (part !== undefined && leads.has(source)) arrive(source, part);
      }
  }
  graph.scope('');
  return new Map(
    [...asked].flatMap((value) => (gradients.has(value) ? [[value, gradients.get(value)!]] : [])),
  );
}

function ruleOf({ op, name, shape, dtype }: Tensor): BackwardRule {
  const rule = RULES[op as OpName];
  if (rule === undefined)
    throw new ZayascopeError(
      'DTYPE_UNSUPPORTED',
      `adjoint: expected an op with a backward, got ${op} (${name})`,
      {
        op,
        tensor: name,
        shapes: [shape],
        dtypes: [dtype],
      },
    );
  return rule;
}
