import { blockBytes, type Dtype, isQuantized, sizeBytes } from '../../dtype.js';
import { unmet } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import { type Policy, parametersSite, type Setting } from '../../graph/policy.js';
import { ResidentMemory, readResident } from '../../graph/resident.js';
import { elementCount } from '../../graph/shape.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { type NativeMapping, native } from '../../native.js';
import type { Checkpoint, TensorInfo, TensorPart } from '../../weights/checkpoint.js';
import { architectureOf } from '../architectures.js';
import { GGUF_TYPES, ggufDtype } from '../gguf/types.js';
import { type ModelSource, openModelSource } from '../layout/source.js';
import type { ModelConfig } from './architecture.js';
import { type BlockStream, type StreamedTensor, streamBlocks } from './block-stream.js';
import { settingOf } from './model-policy.js';
import { checkPolicy } from './sites.js';
import { isSkipReachable } from './skip-class.js';
import { type FillJob, fillTensors } from './weight-filler.js';
import { checkWeights, type RequiredTensor, type WeightRole } from './weights.js';

/** The weights of a model in a device's memory, by their names in the transformers layout. */
export interface ModelWeights extends Disposable {
  readonly config: ModelConfig;
  /** Where they come from. */
  readonly source: ModelSource;
  readonly checkpoint: Checkpoint;
  /** Every tensor that the model needs, and `lm_head.weight` if the checkpoint has one. */
  readonly tensors: ReadonlyMap<string, ResidentTensor>;
  /**
   * Bytes copied to the device (slots of streamed blocks included), and bytes used where they lie in the
   * mapped file.
   */
  readonly allocatedBytes: number;
  readonly mappedBytes: number;
  /** Bytes of weights that the device has rearranged, part of `allocatedBytes`; 0 unless asked for. */
  readonly repackedBytes: number;
  /** Names in the checkpoint that the model does not use. */
  readonly unexpected: readonly string[];
  /**
   * For each block, whether its router can choose the class that skips the MoE (see `skip-class.ts`; false in
   * families without such a class). Where it cannot, all known variants of the class's output agree.
   */
  readonly skipReachable: readonly boolean[];
  /**
   * Set if the blocks' matrices do not fit the device and take turns in two slots. Then segment n (0 the
   * embedding, 1 … L the blocks, L + 1 the head) may run only after `ensure(n)` has resolved, and
   * `ensure(n + 2)` may be called only after segment n has run: on the CPU, block n + 1 can be read while
   * block n computes.
   */
  readonly ensure: ((segment: number) => Promise<void>) | undefined;
  close(): void;
}

/** Options of {@link loadWeights}. */
export interface LoadOptions {
  /**
   * Bytes that the weights may take on the device, mapped files not counted. Default: 85 % of what is free.
   */
  memoryBytes?: number;
  /**
   * Copies the matmul weights into the layouts that the device multiplies with fastest (ggml's weight
   * repacking): which dtypes have one depends on the CPU. Other kernels sum in another order, so results
   * differ in the last bits. Default false: weights are used where they lie in the file.
   */
  repack?: boolean;
}

/**
 * Loads a model in any layout that {@link openModelSource} opens. Matmul weights and the embedding take the
 * dtype that the policy says; in the stored dtype (quantised types too) they are used where they lie in the
 * mapped file on devices that can, else copied. Everything else becomes F32. Where the copies exceed the free
 * memory, the blocks' matrices are streamed: see {@link ModelWeights.ensure}.
 *
 * @param model its path, or what has been opened. @throws `BAD_ARGUMENT` for a policy that does not fit the
 * model; `BAD_CONFIG`, `BAD_CHECKPOINT` (also for
 * NaN or infinity in a vector, bias or convolution), `MISSING_TENSOR`, `IO`; `BACKEND` when the device has
 * too little memory.
 */
export async function loadWeights(
  model: string | ModelSource,
  backend: Backend,
  policy: Policy,
  options: LoadOptions = {},
): Promise<ModelWeights> {
  const source = typeof model === 'string' ? await openModelSource(model) : model;
  const { config, checkpoint } = source;
  const { tensors: required, unexpected } = checkWeights(checkpoint, config);
  checkPolicy(policy, config, required);
  const setting = settingOf(policy, config);
  const places = required.map(({ name, shape, role, info }) =>
    place(name, shape, role, info, config, backend, setting),
  );
  const memoryBytes = options.memoryBytes ?? freeBytes(backend);
  const memory = new ResidentMemory(backend);
  const mappings = new Map<string, NativeMapping>();
  let stream: BlockStream | undefined;
  const close = () => {
    stream?.close();
    memory.close();
    for (const mapping of mappings.values()) mapping.close();
    mappings.clear();
  };
  try {
    const repacked = options.repack ? repack(places, memory, memoryBytes) : [];
    const rearranged = new Set(repacked.map(({ place }) => place));
    const others = places.filter((each) => !rearranged.has(each));
    const repackedBytes = totalBytes([...rearranged]);
    const { mapped, resident, blocks } = divide(others, config, memoryBytes - repackedBytes);
    for (const file of checkpoint.files) mappings.set(file, new (native().Mapping)(file));
    const tensors = new Map<string, ResidentTensor>();
    const add = (tensor: ResidentTensor) => tensors.set(tensor.name, tensor);
    for (const [file, mapping] of mappings) {
      const inFile = mapped.filter(({ stored }) => stored.file === file);
      const specs = inFile.map(({ spec, stored }) => ({ ...spec, offsetBytes: stored.offsetBytes }));
      memory.map(mapping, specs).forEach(add);
    }
    const allocated = memory.allocate(resident.map(({ spec }) => spec));
    allocated.forEach(add);
    const jobs = allocated.map((tensor, index): FillJob => {
      const { stored, isMatrix, rounding } = resident[index]!;
      return { tensor, stored, rounding, checkFinite: !isMatrix };
    });
    for (const { tensor, place } of repacked) {
      add(tensor);
      jobs.push({ tensor, stored: place.stored, rounding: place.rounding, checkFinite: false });
    }
    await fillTensors(jobs, mappings);
    if (blocks !== undefined) {
      stream = streamBlocks(backend, blocks, (each) => fillTensors(each, mappings));
      stream.tensors.forEach(add);
    }
    return {
      config,
      source,
      checkpoint,
      tensors,
      allocatedBytes: memory.sizeBytes + (stream?.sizeBytes ?? 0),
      mappedBytes: totalBytes(mapped),
      repackedBytes,
      unexpected,
      skipReachable: config.layer_types.map((_, block) => isReachable(config, tensors, block)),
      ensure: stream === undefined ? undefined : ensureSegment(stream, config.num_hidden_layers),
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

interface Placement extends StreamedTensor {
  role: WeightRole;
  /** Stored values are rounded to this dtype before they are used; undefined: they are used as they are. */
  rounding: 'BF16' | 'F16' | undefined;
  isMatrix: boolean;
  /** Used where it lies in the file. */
  isMapped: boolean;
}

function place(
  name: string,
  shape: readonly number[],
  role: WeightRole,
  info: TensorInfo,
  config: ModelConfig,
  backend: Backend,
  setting: Setting,
): Placement {
  const isMatrix = role === 'matmul' || role === 'embedding';
  const dtype = matrixDtype({ name, shape, role }, info.dtype, config, setting);
  const stored = { ...info, parts: joinParts(info.parts) };
  const parameters = setting(parametersSite(name)) as 'stored' | 'BF16' | 'F16';
  const isRounded =
    parameters !== 'stored' && parameters !== info.dtype && role !== 'buffer' && dtype === 'F32';
  const rounding = isRounded ? parameters : undefined;
  // Blocks of quantised types are read as 16-bit values.
  const alignment = isQuantized(dtype) ? 2 : blockBytes(dtype);
  const isUsable = stored.parts.length === 1 && stored.offsetBytes % alignment === 0;
  const isMapped =
    isMatrix &&
    rounding === undefined &&
    dtype === info.dtype &&
    isUsable &&
    backend.device.bufferFromHostPointer;
  return { stored, spec: { name, dtype, shape }, role, rounding, isMatrix, isMapped };
}

/**
 * Makes room for the matmul weights in their stored dtype that the device has a faster layout for. The
 * embedding is none of them: rows are looked up in it, so a head that shares it stays as it is.
 */
function repack(
  places: readonly Placement[],
  memory: ResidentMemory,
  memoryBytes: number,
): { place: Placement; tensor: ResidentTensor }[] {
  const candidates = places.filter(
    ({ role, spec, stored }) =>
      role === 'matmul' && spec.dtype === stored.dtype && stored.storedAxes === undefined,
  );
  const needed = totalBytes(candidates);
  if (needed > memoryBytes)
    throw unmet(
      'BACKEND',
      'loadWeights',
      `${needed} bytes of free memory to repack the weights`,
      `${Math.floor(memoryBytes)}; without repacking they are used in the file`,
    );
  const tensors = memory.allocateRepacked(candidates.map(({ spec }) => spec));
  return candidates.flatMap((place, index) => {
    const tensor = tensors[index];
    return tensor === undefined ? [] : [{ place, tensor }];
  });
}

/** The dtype that a weight is loaded in: matrices as the policy says, everything else F32. */
export function matrixDtype(
  tensor: RequiredTensor,
  stored: Dtype,
  config: ModelConfig,
  setting: Setting,
): Dtype {
  if (tensor.role !== 'matmul' && tensor.role !== 'embedding') return 'F32';
  const choice = setting(weightSite(tensor.name));
  if (choice === 'stored') return stored;
  // The type of a whole file is a mixture of dtypes; `repro` tries single dtypes too.
  const type = GGUF_TYPES.find((each) => each === choice);
  return type === undefined ? (choice as Dtype) : ggufDtype(tensor, type, config).dtype;
}

/**
 * The policy's site of a weight: `model.layers.3.self_attn.o_proj.weight` is
 * `layers.3.self_attn.o_proj#weight`.
 */
export function weightSite(name: string): string {
  return `${name.replace(/^model\./, '').replace(/\.weight$/, '')}#weight`;
}

/** Joins parts that follow each other in one file: experts of the legacy layout may. */
function joinParts(parts: readonly TensorPart[]): TensorPart[] {
  const joined: TensorPart[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (last?.file === part.file && last.offsetBytes + last.sizeBytes === part.offsetBytes)
      joined[joined.length - 1] = { ...last, sizeBytes: last.sizeBytes + part.sizeBytes };
    else joined.push(part);
  }
  return joined;
}

/**
 * What is mapped, what is copied at once, and per block what is streamed (undefined: nothing needs to be).
 */
function divide(places: readonly Placement[], config: ModelConfig, memoryBytes: number) {
  const mapped = places.filter(({ isMapped }) => isMapped);
  const copied = places.filter(({ isMapped }) => !isMapped);
  if (totalBytes(copied) <= memoryBytes) return { mapped, resident: copied, blocks: undefined };
  const blockOf = ({ spec, isMatrix }: Placement) =>
    isMatrix ? /^model\.layers\.(\d+)\./.exec(spec.name)?.[1] : undefined;
  const resident = copied.filter((each) => blockOf(each) === undefined);
  const blocks = config.layer_types.map((_, block) =>
    copied.filter((each) => blockOf(each) === String(block)),
  );
  const [largest = 0, second = 0] = blocks.map(totalBytes).sort((a, b) => b - a);
  const needed = totalBytes(resident) + largest + second;
  if (needed > memoryBytes)
    throw unmet(
      'BACKEND',
      'loadWeights',
      `${needed} bytes of free memory for embedding, vectors and two blocks`,
      Math.floor(memoryBytes),
    );
  return { mapped, resident, blocks };
}

function totalBytes(places: readonly Placement[]): number {
  return places.reduce((sum, { spec }) => sum + sizeBytes(spec.dtype, elementCount(spec.shape)), 0);
}

/** The rest is left to intermediate values and to others. */
function freeBytes({ device }: Backend): number {
  return 0.85 * (device.type === 'cpu' ? process.availableMemory() : device.memoryFreeBytes);
}

function isReachable(
  config: ModelConfig,
  tensors: ReadonlyMap<string, ResidentTensor>,
  block: number,
): boolean {
  const biases = architectureOf(config).skipBiases?.(block);
  return biases !== undefined && isSkipReachable(new Float32Array(readResident(tensors.get(biases)!).buffer));
}

function ensureSegment(stream: BlockStream, blocks: number): (segment: number) => Promise<void> {
  return async (segment) => {
    if (segment >= 1 && segment <= blocks) await stream.ensure(segment - 1);
  };
}
