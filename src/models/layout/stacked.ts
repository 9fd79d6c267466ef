/** Tensors that a checkpoint stores apart and a model reads as one, and back. No data is read. */
import { DTYPES } from '../../dtype.js';
import { unmet } from '../../errors.js';
import type { Checkpoint, StoredTensor, TensorInfo } from '../../weights/checkpoint.js';
import { sliceParts } from '../../weights/tensor-data.js';

/**
 * Tensors of the same shape as one tensor of several parts, stacked along a new first axis. Throws
 * `BAD_CHECKPOINT` where they differ in shape or dtype.
 */
export function stack(op: string, name: string, experts: readonly StoredTensor[]): StoredTensor {
  const first = experts[0]!;
  const other = experts.find(
    ({ dtype, shape }) => dtype !== first.dtype || String(shape) !== String(first.shape),
  );
  if (other !== undefined)
    throw unmet(
      'BAD_CHECKPOINT',
      op,
      'experts alike',
      `${first.dtype} [${first.shape.join(', ')}] and ${other.dtype} [${other.shape.join(', ')}]`,
      {
        where: `${other.name} in ${other.file}`,
        tensor: other.name,
        shapes: [first.shape, other.shape],
        dtypes: [first.dtype, other.dtype],
      },
    );
  return {
    ...first,
    name,
    shape: [experts.length, ...first.shape],
    sizeBytes: experts.length * first.sizeBytes,
    parts: experts.flatMap(({ parts }) => parts),
  };
}

/** Entry `index` of the first axis. */
export function slice(tensor: StoredTensor, index: number): StoredTensor {
  const [count, ...shape] = tensor.shape as [number, ...number[]];
  const sizeBytes = tensor.sizeBytes / count;
  const parts = sliceParts(tensor, index * sizeBytes, (index + 1) * sizeBytes);
  return { ...tensor, ...parts[0]!, shape, sizeBytes, parts };
}

/** Readable and unreadable tensors by name. */
export function allTensors(checkpoint: Checkpoint): Map<string, StoredTensor> {
  return new Map<string, StoredTensor>([...checkpoint.tensors, ...checkpoint.unreadable]);
}

/** A checkpoint with other tensors. */
export function viewOf(checkpoint: Checkpoint, stored: readonly StoredTensor[]): Checkpoint {
  const isReadable = (tensor: StoredTensor): tensor is TensorInfo =>
    (DTYPES as readonly string[]).includes(tensor.dtype);
  const byName = <T extends StoredTensor>(tensors: readonly T[]) =>
    new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return {
    ...checkpoint,
    tensors: byName(stored.filter(isReadable)),
    unreadable: byName(stored.filter((tensor) => !isReadable(tensor))),
  };
}
