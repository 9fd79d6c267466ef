import { type Dtype, ggmlType, sizeBytes } from '../dtype.js';
import { unmet, ZayascopeError } from '../errors.js';
import { type NativeBuffer, type NativeContext, type NativeMapping, native } from '../native.js';
import type { Backend } from './backend.js';
import { requireFreeMemory } from './device-memory.js';
import { checkShape, elementCount, formatShape, type Shape, toNe } from './shape.js';
import type { ResidentTensor } from './tensor.js';

/** What {@link ResidentMemory.allocate} is to make room for. */
export interface ResidentSpec {
  name: string;
  dtype: Dtype;
  /** Axes in the reference's order, slowest first. */
  shape: Shape;
}

/**
 * Device memory that outlives graphs: weights, states and constants. Closing it frees all of its tensors at
 * once.
 */
export class ResidentMemory implements Disposable {
  readonly #backend: Backend;
  readonly #contexts: NativeContext[] = [];
  readonly #buffers: NativeBuffer[] = [];
  #closed = false;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Bytes allocated on the device; mapped files do not count. */
  sizeBytes = 0;

  /**
   * Allocates tensors in one buffer; their contents are undefined until written. Throws `SHAPE_MISMATCH` for
   * a shape that is none, `BACKEND` when the device has too little memory.
   */
  allocate(specs: readonly ResidentSpec[]): ResidentTensor[] {
    if (specs.length === 0) return [];
    const context = this.#context(specs.length);
    const tensors = specs.map((spec) => this.#declare(context, spec));
    const bytes = specs.reduce((sum, { dtype, shape }) => sum + sizeBytes(dtype, elementCount(shape)), 0);
    requireFreeMemory(
      this.#backend,
      bytes,
      specs.length === 1 ? specs[0]!.name : `${specs.length} tensors, first ${specs[0]!.name}`,
    );
    this.#hold(native().Buffer.allocate(this.#backend.native, context));
    return tensors;
  }

  /**
   * Allocates those of the tensors that the device rearranges to multiply with them faster ({@link
   * ResidentTensor.isRepacked}), and gives undefined for each of the others. Throws as {@link allocate} does.
   */
  allocateRepacked(specs: readonly ResidentSpec[]): (ResidentTensor | undefined)[] {
    if (specs.length === 0) return [];
    const { native: device } = this.#backend;
    const probe = new (native().Context)(specs.length);
    const types = specs.map((spec) => device.extraBufferType(probe, this.#declare(probe, spec).handle));
    probe.close();
    const tensors: (ResidentTensor | undefined)[] = specs.map(() => undefined);
    for (const type of new Set(types)) {
      if (type === undefined) continue;
      const served = specs.flatMap((spec, index) => (types[index] === type ? [{ spec, index }] : []));
      const context = this.#context(served.length);
      for (const { spec, index } of served)
        tensors[index] = { ...this.#declare(context, spec), isRepacked: true };
      this.#hold(native().Buffer.allocate(device, context, type));
    }
    return tensors;
  }

  /**
   * Uses tensors where they lie in a mapped file, without a copy; for devices with `bufferFromHostPointer`
   * only. `offsetBytes` counts from the start of the file.
   */
  map(mapping: NativeMapping, specs: readonly (ResidentSpec & { offsetBytes: number })[]): ResidentTensor[] {
    if (specs.length === 0) return [];
    const context = this.#context(specs.length);
    const buffer = native().Buffer.fromMapping(this.#backend.native, mapping);
    this.#buffers.push(buffer);
    return specs.map((spec) => {
      const tensor = this.#declare(context, spec);
      native().Buffer.attach(buffer, context, tensor.handle, spec.offsetBytes);
      return tensor;
    });
  }

  close(): void {
    this.#closed = true;
    for (const context of this.#contexts.splice(0)) context.close();
    for (const buffer of this.#buffers.splice(0)) buffer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #hold(buffer: NativeBuffer): void {
    this.#buffers.push(buffer);
    this.sizeBytes += buffer.sizeBytes;
  }

  #context(tensors: number): NativeContext {
    if (this.#closed)
      throw new ZayascopeError('CLOSED', 'allocate: expected an open ResidentMemory, got a closed one', {
        op: 'allocate',
      });
    const context = new (native().Context)(tensors);
    this.#contexts.push(context);
    return context;
  }

  #declare(context: NativeContext, { name, dtype, shape }: ResidentSpec): ResidentTensor {
    checkShape('allocate', shape, name);
    sizeBytes(dtype, shape[shape.length - 1]!); // rows of whole blocks
    return { name, dtype, shape, context, handle: context.tensor(ggmlType(dtype), toNe(shape), name) };
  }
}

/** Writes a whole resident tensor. The array must hold exactly its bytes (`SHAPE_MISMATCH`). */
export function writeResident(tensor: ResidentTensor, values: ArrayBufferView): void {
  const expected = sizeBytes(tensor.dtype, elementCount(tensor.shape));
  if (values.byteLength !== expected)
    throw unmet(
      'SHAPE_MISMATCH',
      'writeResident',
      `${expected} bytes for ${formatShape(tensor.shape)} ${tensor.dtype}`,
      values.byteLength,
      { where: tensor.name, tensor: tensor.name },
    );
  tensor.context.write(tensor.handle, new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 0);
}

/** Reads a whole resident tensor as bytes. */
export function readResident(tensor: ResidentTensor): Uint8Array {
  const bytes = new Uint8Array(sizeBytes(tensor.dtype, elementCount(tensor.shape)));
  tensor.context.read(tensor.handle, bytes, 0);
  return bytes;
}
