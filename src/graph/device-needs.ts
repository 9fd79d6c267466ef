import { backendKind } from './backend-library.js';
import type { OpName } from './ops.js';
import { isContiguous, type Tensor } from './tensor.js';

/**
 * A copy that a device needs where the model has none: its kernel refuses a strided operand, or computes
 * something else with it.
 */
export interface ContiguityNeed {
  op: OpName;
  /** Position of the operand in the op's sources. */
  operand: number;
  /** Why, in one sentence. */
  reason: string;
}

const THROUGH_HALF_WIDTH =
  'its kernel copies a permuted matrix to half width first, also where F16 arithmetic is off: NMSE 4e-8 instead of 1e-13';

/**
 * What each kind of device needs beyond the rules of the op functions, by its name in {@link backendKind}.
 * One line an operand: what stands here becomes a `cont` node in front of the op when the graph is compiled
 * for such a device, and is listed by `zayascope doctor --model`. A kind that is absent takes what the rules
 * allow.
 */
export const CONTIGUITY_NEEDS: Readonly<Record<string, readonly ContiguityNeed[]>> = {
  vulkan: [
    { op: 'mulMat', operand: 0, reason: THROUGH_HALF_WIDTH },
    { op: 'mulMat', operand: 1, reason: THROUGH_HALF_WIDTH },
    {
      op: 'im2col',
      operand: 0,
      reason:
        'it aborts the process where the convolution kernel begins in the middle of a row of something larger',
    },
  ],
};

/** A copy that was put in front of an op for the device. */
export interface InsertedCopy {
  /** Name of the node that reads the copy. */
  node: string;
  /** Name of the value that is copied. */
  source: string;
  need: ContiguityNeed;
}

/**
 * The needs of a device that a node does not meet. Quantised operands stay as they are: no device copies
 * them.
 */
export function unmetNeeds(device: string, { op, sources }: Tensor): readonly ContiguityNeed[] {
  return (CONTIGUITY_NEEDS[backendKind(device)] ?? []).filter((need) => {
    const source = sources[need.operand];
    return need.op === op && source !== undefined && !isContiguous(source) && isCopyable(source);
  });
}

function isCopyable({ dtype }: Tensor): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}
