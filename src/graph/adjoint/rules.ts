import type { OpName } from '../ops.js';
import type { Tensor } from '../tensor.js';

/**
 * The backward of an op: from the gradient of its result (F32, contiguous, in the result's shape) that of
 * each source, in the order of the sources. Undefined for a source that nothing asks for, or that has none:
 * indices, masks, positions.
 *
 * @param isAsked true for sources whose gradient leads somewhere.
 */
export type BackwardRule = (
  node: Tensor,
  gradient: Tensor,
  isAsked: (source: Tensor) => boolean,
) => readonly (Tensor | undefined)[];

/** Rules of some ops. */
export type BackwardRules = Readonly<Partial<Record<OpName, BackwardRule>>>;

/** For ops of one source. */
export function unary(backward: (node: Tensor, gradient: Tensor, x: Tensor) => Tensor): BackwardRule {
  return (node, gradient) => [backward(node, gradient, node.sources[0]!)];
}
