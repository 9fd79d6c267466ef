import { blockSize, type Dtype, ggmlType, sizeBytes } from '../dtype.js';
import { ZayascopeError } from '../errors.js';
import type { Backend } from '../graph/backend.js';
import type { Policy } from '../graph/policy.js';
import { ResidentMemory, type ResidentSpec } from '../graph/resident.js';
import { elementCount } from '../graph/shape.js';
import type { ResidentTensor } from '../graph/tensor.js';
import { type NativeMapping, native } from '../native.js';
import { type Checkpoint, openCheckpoint, type TensorInfo } from '../weights/checkpoint.js';
import { readZayaConfig, type ZayaConfig } from './zaya-config.js';
import { checkWeights, type RequiredTensor, requiredTensors } from './zaya-weights.js';

/** The weights of a model in a device's memory, by their names in the checkpoint. */
export interface ZayaWeights extends Disposable {
  readonly config: ZayaConfig;
  readonly checkpoint: Checkpoint;
  readonly tensors: ReadonlyMap<string, ResidentTensor>;
  /** Bytes copied to the device, and bytes used where they lie in the mapped file. */
  readonly allocatedBytes: number;
  readonly mappedBytes: number;
  /** Names in the checkpoint that the model does not use. */
  readonly unexpected: readonly string[];
  close(): void;
}

/** Bytes read and widened at a time. */
const CHUNK_BYTES = 32 * 1024 * 1024;

/**
 * Loads a model folder in the transformers layout (`config.json`, `model.safetensors` or shards with an index; BF16, F16 or F32). Matmul weights take the dtype that the
 * policy says; in the stored dtype they are used where they lie in the mapped file on devices that can, else copied. Everything else becomes F32.
 *
 * @throws `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR`, `IO`; `BACKEND` when the device has too little memory.
 */
export async function loadZayaWeights(
  folder: string,
  backend: Backend,
  policy: Policy,
): Promise<ZayaWeights> {
  const config = await readZayaConfig(folder);
  const checkpoint = await openCheckpoint(folder);
  const { unexpected } = checkWeights(checkpoint, config);
  const memory = new ResidentMemory(backend);
  const mappings = new Map<string, NativeMapping>();
  const close = () => {
    memory.close();
    for (const mapping of mappings.values()) mapping.close();
    mappings.clear();
  };
  try {
    for (const file of checkpoint.files) mappings.set(file, new (native().Mapping)(file));
    const plans = requiredTensors(config).map((required) => placement(required, checkpoint, backend, policy));
    const tensors = new Map<string, ResidentTensor>();
    let mappedBytes = 0;
    for (const [file, mapping] of mappings) {
      const inPlace = plans.filter((plan) => plan.mapped && plan.stored.file === file);
      const specs = inPlace.map(({ spec, stored }) => ({ ...spec, offsetBytes: stored.offsetBytes }));
      for (const tensor of memory.map(mapping, specs)) tensors.set(tensor.name, tensor);
      mappedBytes += inPlace.reduce((sum, { stored }) => sum + stored.sizeBytes, 0);
    }
    const copied = plans.filter((plan) => !plan.mapped);
    const allocated = memory.allocate(copied.map(({ spec }) => spec));
    for (const [index, tensor] of allocated.entries()) {
      await fill(tensor, copied[index]!.stored, mappings);
      tensors.set(tensor.name, tensor);
    }
    return {
      config,
      checkpoint,
      tensors,
      allocatedBytes: memory.sizeBytes,
      mappedBytes,
      unexpected,
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

interface Placement {
  stored: TensorInfo;
  spec: ResidentSpec;
  /** Used where it lies in the file. */
  mapped: boolean;
}

function placement(
  { name, shape, role }: RequiredTensor,
  checkpoint: Checkpoint,
  backend: Backend,
  policy: Policy,
): Placement {
  const stored = checkpoint.tensors.get(name);
  if (stored === undefined)
    throw new ZayascopeError('MISSING_TENSOR', `loadZayaWeights: expected ${name}, got none`, {
      tensor: name,
    });
  const isMatrix = role === 'matmul' || role === 'embedding';
  const dtype: Dtype = isMatrix && policy.matmulWeights === 'stored' ? stored.dtype : 'F32';
  const aligned = stored.parts.length === 1 && stored.offsetBytes % sizeBytes(dtype, blockSize(dtype)) === 0;
  const mapped = isMatrix && dtype === stored.dtype && aligned && backend.device.bufferFromHostPointer;
  return { stored, spec: { name, dtype, shape }, mapped };
}

/** Copies a tensor's parts to the device, chunk by chunk, widening to F32 where the dtypes differ. */
async function fill(
  tensor: ResidentTensor,
  stored: TensorInfo,
  mappings: ReadonlyMap<string, NativeMapping>,
): Promise<void> {
  const from = sizeBytes(stored.dtype, 1);
  const to = sizeBytes(tensor.dtype, 1);
  let written = 0;
  for (const part of stored.parts) {
    const mapping = mappings.get(part.file)!;
    for (let done = 0; done < part.sizeBytes; done += CHUNK_BYTES) {
      const bytes = new Uint8Array(Math.min(CHUNK_BYTES, part.sizeBytes - done));
      mapping.read(part.offsetBytes + done, bytes);
      const values = stored.dtype === tensor.dtype ? bytes : await widen(bytes, stored.dtype);
      tensor.context.write(tensor.handle, values, written);
      written += (bytes.byteLength / from) * to;
    }
  }
  if (written !== sizeBytes(tensor.dtype, elementCount(tensor.shape)))
    throw new ZayascopeError(
      'BAD_CHECKPOINT',
      `loadZayaWeights: expected the parts of ${tensor.name} to fill it, got ${written} bytes`,
      {
        tensor: tensor.name,
      },
    );
}

async function widen(bytes: Uint8Array, dtype: Dtype): Promise<Uint8Array> {
  const count = bytes.byteLength / sizeBytes(dtype, 1);
  const out = new Float32Array(count);
  await native().dequantize(bytes, ggmlType(dtype), count, out);
  return new Uint8Array(out.buffer);
}
