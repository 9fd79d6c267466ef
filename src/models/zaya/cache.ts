import type { Dtype } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import type { Setting } from '../../graph/policy.js';
import { ResidentMemory, type ResidentSpec, readResident, writeResident } from '../../graph/resident.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { convChannels, convStateLength, type ZayaConfig } from './config.js';
import type { ZayaWeights } from './loader.js';

/** What one block remembers of the tokens before. */
export interface LayerState {
  /** F32 [B, L, C]: the last L raw q‖k rows, oldest first; absent for convolutions of size 1. */
  conv_state: ResidentTensor | undefined;
  /** F32 [B, 1, nk·d/2]: delayed value projection of the last token. */
  delayed_state: ResidentTensor;
}

/** Keys and values of one block: [B, capacity, nk·d] and, transposed, [B, nk·d, capacity]. */
export interface LayerCache {
  k_cache: ResidentTensor;
  v_cache: ResidentTensor;
}

/** The recurrent states as bytes, enough to go back to a position together with the KV cache's length. */
export type StateSnapshot = readonly { conv_state: Uint8Array | undefined; delayed_state: Uint8Array }[];

/** Adds the recurrent states of all blocks, for `batch` sequences, to a memory; set to what precedes a first token. */
export function allocateStates(memory: ResidentMemory, weights: ZayaWeights, batch: number): LayerState[] {
  const { config } = weights;
  const rows = convStateLength(config);
  const half = halfWidth(config);
  const specs: ResidentSpec[] = [];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    if (rows > 0)
      specs.push({
        name: `layers.${layer}.conv_state`,
        dtype: 'F32',
        shape: [batch, rows, convChannels(config)],
      });
    specs.push({ name: `layers.${layer}.delayed_state`, dtype: 'F32', shape: [batch, 1, half] });
  }
  const tensors = memory.allocate(specs);
  const states = Array.from({ length: config.num_hidden_layers }, (_, layer) => ({
    conv_state: rows > 0 ? tensors[2 * layer]! : undefined,
    delayed_state: tensors[rows > 0 ? 2 * layer + 1 : layer]!,
  }));
  resetStates(states, weights);
  return states;
}

/** Sets recurrent states to what precedes a first token: zeros, and for the delayed value the projection of a zero, which is its bias. */
export function resetStates(states: readonly LayerState[], weights: ZayaWeights): void {
  for (const [layer, { conv_state, delayed_state }] of states.entries()) {
    if (conv_state !== undefined) conv_state.context.fill(conv_state.handle, 0);
    const [batch, , half] = delayed_state.shape as [number, number, number];
    const bias = weights.tensors.get(`model.layers.${layer}.self_attn.qkv_proj.v_proj_delayed.bias`);
    const initial = new Float32Array(batch * half);
    if (bias !== undefined) {
      const values = new Float32Array(readResident(bias).buffer);
      for (let sequence = 0; sequence < batch; sequence++) initial.set(values, sequence * half);
    }
    writeResident(delayed_state, initial);
  }
}

/** Keeps a copy of recurrent states. */
export function snapshotStates(states: readonly LayerState[]): StateSnapshot {
  return states.map(({ conv_state, delayed_state }) => ({
    conv_state: conv_state === undefined ? undefined : readResident(conv_state),
    delayed_state: readResident(delayed_state),
  }));
}

/** Writes a copy back. */
export function restoreStates(states: readonly LayerState[], snapshot: StateSnapshot): void {
  for (const [layer, { conv_state, delayed_state }] of states.entries()) {
    const kept = snapshot[layer]!;
    if (conv_state !== undefined) writeResident(conv_state, kept.conv_state!);
    writeResident(delayed_state, kept.delayed_state);
  }
}

/** KV cache and recurrent states of a batch of sequences on a device. */
export interface ZayaCache extends Disposable {
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

/** Allocates an empty cache. Throws `BAD_ARGUMENT` for sizes that cannot be, `BACKEND` when the device has too little memory. */
export function allocateCache(
  weights: ZayaWeights,
  backend: Backend,
  setting: Setting,
  batch: number,
  capacity: number,
): ZayaCache {
  const { config } = weights;
  const width = config.num_key_value_heads * config.head_dim;
  const valid =
    [batch, capacity].every((size) => Number.isInteger(size) && size >= 1) &&
    batch * capacity * width <= MAX_ELEMENTS;
  if (!valid)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `allocateCache: expected at least 1 sequence and 1 position and at most ${MAX_ELEMENTS} elements a block, got ${batch} x ${capacity} x ${width}`,
      { op: 'allocateCache' },
    );
  const memory = new ResidentMemory(backend);
  try {
    const dtype = (layer: number, name: 'k_cache' | 'v_cache') =>
      setting(`layers.${layer}.self_attn:${name}#dtype`) as Dtype;
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

function halfWidth(config: ZayaConfig): number {
  return (config.num_key_value_heads * config.head_dim) / 2;
}
