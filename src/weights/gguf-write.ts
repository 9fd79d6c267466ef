import { type Dtype, ggmlType, sizeBytes } from '../dtype.js';
import { badArgument } from '../errors.js';
import { type GgufValue, native } from '../native.js';
import { writeAtomically } from './atomic-file.js';

const OP = 'writeGguf';

/** Where ggml puts the data of every tensor. */
const ALIGNMENT_BYTES = 32;

/** One tensor to write. */
export interface GgufTensorSpec {
  name: string;
  dtype: Dtype;
  /** Axes in the reference's order (slowest first), 1 to 4 of them. */
  shape: readonly number[];
}

/**
 * Its bytes, in any number of pieces; read once, when its turn comes. A piece may be reused when the next is
 * asked for.
 */
export type GgufTensorData = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Bytes of data that a tensor takes, without padding. */
export function ggufTensorBytes({ dtype, shape }: GgufTensorSpec): number {
  return sizeBytes(
    dtype,
    shape.reduce((product, size) => product * size, 1),
  );
}

/**
 * Writes a GGUF file (version 3, alignment 32), data streaming through. The file appears under its name only
 * when it is complete.
 *
 * @param data called for each tensor in order.
 * @param onProgress called after each piece: bytes of data written and in all.
 * @throws `BAD_ARGUMENT` for a duplicate or too long name, a malformed shape, pieces that do not add up to a
 * tensor's size; `IO` when writing fails.
 */
export async function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensorSpec[],
  data: (tensor: GgufTensorSpec, index: number) => GgufTensorData,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  const header = native().ggufHeader(
    metadata,
    tensors.map(({ name, dtype, shape }) => ({ name, type: ggmlType(dtype), ne: [...shape].reverse() })),
  );
  const totalBytes = tensors.reduce((sum, tensor) => sum + ggufTensorBytes(tensor), 0);
  let doneBytes = 0;
  await writeAtomically(OP, path, async (append) => {
    await append(header);
    for (const [index, tensor] of tensors.entries()) {
      const expected = ggufTensorBytes(tensor);
      let written = 0;
      for await (const piece of data(tensor, index)) {
        written += piece.length;
        if (written > expected) break;
        await append(piece);
        doneBytes += piece.length;
        onProgress?.(doneBytes, totalBytes);
      }
      if (written !== expected)
        throw badArgument(
          OP,
          `pieces of ${expected} bytes in all`,
          written > expected ? 'more' : written,
          tensor.name,
        );
      await append(new Uint8Array((ALIGNMENT_BYTES - (expected % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES));
    }
  });
}
