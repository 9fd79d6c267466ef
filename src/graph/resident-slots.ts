import { blockBytes, type Dtype, ggmlType, sizeBytes } from '../dtype.js';
import { type NativeBuffer, type NativeContext, native } from '../native.js';
import type { Backend } from './backend.js';
import { requireFreeMemory } from './device-memory.js';
import type { ResidentSpec } from './resident.js';
import { elementCount, toNe } from './shape.js';
import type { ResidentTensor } from './tensor.js';

/** Satisfies every device that ggml has: their alignments are 16 to 256 bytes. */
const ALIGNMENT_BYTES = 256;

/**
 * One piece of device memory that several groups of tensors take turns in: all groups start at its first
 * byte, so filling one overwrites the others. For weights that do not fit all at once.
 */
export class ResidentSlot implements Disposable {
  readonly sizeBytes: number;
  readonly #contexts: NativeContext[] = [];
  readonly #buffer: NativeBuffer;

  /**
   * @param sizeBytes what the largest group needs, see {@link slotBytes}. Throws `BACKEND` when the device
   * has too little memory.
   */
  constructor(backend: Backend, sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    requireFreeMemory(backend, sizeBytes, 'a slot of streamed weights');
    const context = new (native().Context)(1);
    this.#contexts.push(context);
    context.tensor(ggmlType('I8'), [sizeBytes, 1, 1, 1], 'slot');
    this.#buffer = native().Buffer.allocate(backend.native, context);
  }

  /** Declares the tensors of one group. Their contents are undefined until written. */
  group(specs: readonly ResidentSpec[]): ResidentTensor[] {
    const context = new (native().Context)(Math.max(1, specs.length));
    this.#contexts.push(context);
    let offsetBytes = 0;
    return specs.map(({ name, dtype, shape }) => {
      const handle = context.tensor(ggmlType(dtype), toNe(shape), name);
      native().Buffer.attach(this.#buffer, context, handle, offsetBytes);
      offsetBytes += paddedBytes(dtype, shape);
      return { name, dtype, shape, context, handle };
    });
  }

  close(): void {
    for (const context of this.#contexts.splice(0)) context.close();
    this.#buffer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bytes that a group takes in a {@link ResidentSlot}. */
export function slotBytes(specs: readonly ResidentSpec[]): number {
  return specs.reduce((sum, { dtype, shape }) => sum + paddedBytes(dtype, shape), 0);
}

function paddedBytes(dtype: Dtype, shape: readonly number[]): number {
  // CUDA reads quantised rows in steps of 512 elements, at most 16 blocks, and so past the end of the last
  // one.
  const bytes = sizeBytes(dtype, elementCount(shape)) + 16 * blockBytes(dtype);
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}
