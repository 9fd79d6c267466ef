import type { Dtype } from '../../dtype.js';
import { badArgument } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import type { Setting } from '../../graph/policy.js';
import { ResidentMemory, type ResidentSpec, readResident, writeResident } from '../../graph/resident.js';
import { elementCount } from '../../graph/shape.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';
import { cacheSite } from './cache-sites.js';
import type { ModelWeights } from './loader.js';

/**
 * What one block remembers of the tokens before, by the names of the architecture's `histories`: F32 [B, ..].
 */
export type LayerState = Readonly<Record<string, ResidentTensor>>;

/** Keys and values of one block: [B, capacity, nk·d] and, transposed, [B, nk·d, capacity]. */
export interface LayerCache {
  k_cache: ResidentTensor;
  v_cache: ResidentTensor;
}

/** The recurrent states as bytes, enough to go back to a position together with the KV cache's length. */
export type StateSnapshot = readonly Readonly<Record<string, Uint8Array>>[];

/**
 * Adds the recurrent states of all blocks, for `batch` sequences, to a memory; set to what precedes a first
 * token.
 */
export function allocateStates(memory: ResidentMemory, weights: ModelWeights, batch: number): LayerState[] {
  const { config } = weights;
  const histories = Object.entries(architectureOf(config).histories(config));
  const names = histories.map(([name]) => name);
  const specs = Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    histories.map(
      ([name, { shape }]): ResidentSpec => ({
        name: `layers.${layer}.${name}`,
        dtype: 'F32',
        shape: [batch, ...shape],
      }),
    ),
  );
  const tensors = names.length === 0 ? [] : memory.allocate(specs.flat());
  const states = specs.map((_, layer) =>
    Object.fromEntries(names.map((name, index) => [name, tensors[layer * names.length + index]!])),
  );
  resetStates(states, weights);
  return states;
}

/**
 * Sets recurrent states to what precedes a first token: zeros, or what the architecture's `histories` start
 * from.
 */
export function resetStates(states: readonly LayerState[], weights: ModelWeights): void {
  const histories = architectureOf(weights.config).histories(weights.config);
  for (const [layer, state] of states.entries())
    for (const [name, tensor] of Object.entries(state)) {
      const { start } = histories[name]!;
      const values = start === undefined ? undefined : weights.tensors.get(start(layer));
      if (values === undefined) tensor.context.fill(tensor.handle, 0);
      else writeResident(tensor, repeated(new Float32Array(readResident(values).buffer), tensor));
    }
}

/** The same values for each sequence. */
function repeated(values: Float32Array, { shape }: ResidentTensor): Float32Array {
  const result = new Float32Array(elementCount(shape));
  for (let at = 0; at < result.length; at += values.length) result.set(values, at);
  return result;
}

/** Keeps a copy of recurrent states. */
export function snapshotStates(states: readonly LayerState[]): StateSnapshot {
  return states.map((state) =>
    Object.fromEntries(Object.entries(state).map(([name, tensor]) => [name, readResident(tensor)])),
  );
}

/** Writes a copy back. */
export function restoreStates(states: readonly LayerState[], snapshot: StateSnapshot): void {
  for (const [layer, state] of states.entries())
    for (const [name, tensor] of Object.entries(state)) writeResident(tensor, snapshot[layer]![name]!);
}

/** KV cache and recurrent states of a batch of sequences on a device. */
export interface ModelCache extends Disposable {
  /** Of the model that it belongs to. */
  readonly config: ModelConfig;
  readonly batch: number;
  /** Positions that fit. */
  readonly capacity: number;
  readonly layers: readonly LayerCache[];
  readonly states: readonly LayerState[];
  readonly sizeBytes: number;
  /** Sets the recurrent states to what precedes a first token. Keys and values stay; a mask hides them. */
  reset(): void;
  close(): void;
}

/** Elements of one cache tensor must stay addressable by I32. */
const MAX_ELEMENTS = 2 ** 31 - 1;

/**
 * Allocates an empty cache. Throws `BAD_ARGUMENT` for sizes that cannot be, `BACKEND` when the device has too
 * little memory.
 */
export function allocateCache(
  weights: ModelWeights,
  backend: Backend,
  setting: Setting,
  batch: number,
  capacity: number,
): ModelCache {
  const { config } = weights;
  const width = config.num_key_value_heads * config.head_dim;
  const valid =
    [batch, capacity].every((size) => Number.isInteger(size) && size >= 1) &&
    batch * capacity * width <= MAX_ELEMENTS;
  if (!valid)
    throw badArgument(
      'allocateCache',
      `at least 1 sequence and 1 position and at most ${MAX_ELEMENTS} elements a block`,
      `${batch} x ${capacity} x ${width}`,
    );
  const memory = new ResidentMemory(backend);
  try {
    const dtype = (layer: number, name: 'k_cache' | 'v_cache') =>
      setting(cacheSite(config, layer, name)) as Dtype;
    const specs = Array.from({ length: config.num_hidden_layers }, (_, layer): ResidentSpec[] => [
      { name: `layers.${layer}.k_cache`, dtype: dtype(layer, 'k_cache'), shape: [batch, capacity, width] },
      { name: `layers.${layer}.v_cache`, dtype: dtype(layer, 'v_cache'), shape: [batch, width, capacity] },
    ]);
    const tensors = memory.allocate(specs.flat());
    // Positions that are not written yet are masked, but 0 · NaN would still be NaN.
    for (const tensor of tensors) tensor.context.fill(tensor.handle, 0);
    const layers = specs.map((_, layer) => ({
      k_cache: tensors[2 * layer]!,
      v_cache: tensors[2 * layer + 1]!,
    }));
    const states = allocateStates(memory, weights, batch);
    const close = () => memory.close();
    return {
      config,
      batch,
      capacity,
      layers,
      states,
      sizeBytes: memory.sizeBytes,
      reset: () => resetStates(states, weights),
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    memory.close();
    throw error;
  }
}
