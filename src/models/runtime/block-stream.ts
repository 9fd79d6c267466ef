import type { Backend } from '../../graph/backend.js';
import type { ResidentSpec } from '../../graph/resident.js';
import { ResidentSlot, slotBytes } from '../../graph/resident-slots.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import type { FillJob } from './weight-filler.js';

/** A tensor of a block that is not kept on the device. */
export interface StreamedTensor {
  spec: ResidentSpec;
  stored: TensorInfo;
  /** As of {@link FillJob}. */
  rounding?: FillJob['rounding'];
}

/** The weights of blocks that do not fit the device all at once: two slots that the blocks take turns in. */
export interface BlockStream {
  /** Of all blocks. Only those of the blocks that were ensured last hold their weights. */
  readonly tensors: readonly ResidentTensor[];
  /** Bytes of both slots. */
  readonly sizeBytes: number;
  /**
   * Resolves when a block's weights are in place. Even and odd blocks have a slot each: a block's weights
   * stay until one of the same parity is asked for, which must not happen before its segment has run. So the
   * next block may be asked for while one computes.
   */
  ensure(block: number): Promise<void>;
  close(): void;
}

/**
 * Makes the slots and declares every block's tensors in them. Throws `BACKEND` when the device has too little
 * memory.
 * @param fill writes one block's weights.
 */
export function streamBlocks(
  backend: Backend,
  blocks: readonly (readonly StreamedTensor[])[],
  fill: (jobs: readonly FillJob[]) => Promise<void>,
): BlockStream {
  const slots: ResidentSlot[] = [];
  const close = () => {
    for (const slot of slots.splice(0)) slot.close();
  };
  const groups: FillJob[][] = [];
  try {
    for (const parity of [0, 1]) {
      const sizes = blocks
        .filter((_, block) => block % 2 === parity)
        .map((tensors) => slotBytes(specsOf(tensors)));
      slots.push(new ResidentSlot(backend, Math.max(1, ...sizes)));
    }
    for (const [block, tensors] of blocks.entries()) {
      const residents = slots[block % 2]!.group(specsOf(tensors));
      groups.push(
        residents.map((tensor, i) => ({
          tensor,
          stored: tensors[i]!.stored,
          rounding: tensors[i]!.rounding,
          checkFinite: false,
        })),
      );
    }
  } catch (error) {
    close();
    throw error;
  }
  const holds: (number | undefined)[] = [undefined, undefined];
  const ready: Promise<void>[] = [Promise.resolve(), Promise.resolve()];
  const ensure = (block: number): Promise<void> => {
    const slot = block % 2;
    if (holds[slot] === block) return ready[slot]!;
    holds[slot] = block;
    const before = ready[slot]!.catch(() => {}); // its own caller has seen that failure
    const filled = before.then(() => fill(groups[block]!));
    filled.catch(() => {
      if (ready[slot] === filled) holds[slot] = undefined;
    });
    ready[slot] = filled;
    return filled;
  };
  return {
    tensors: groups.flat().map(({ tensor }) => tensor),
    sizeBytes: slots.reduce((sum, slot) => sum + slot.sizeBytes, 0),
    ensure,
    close,
  };
}

function specsOf(tensors: readonly StreamedTensor[]): ResidentSpec[] {
  return tensors.map(({ spec }) => spec);
}
