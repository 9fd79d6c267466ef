import type { Dtype } from '../../dtype.js';
import type { Graph } from '../../graph/graph.js';
import type { Setting } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import type { ResidentTensor, Tensor } from '../../graph/tensor.js';
import { NO_TAPS, type Taps } from '../runtime/tap.js';
import type { LayerState, ZayaCache } from './cache.js';
import { type CallSizes, perType } from './call-sizes.js';
import { convChannels, convStateLength, kWidth, routerClasses, type ZayaConfig } from './config.js';
import type { ZayaConstant, ZayaContext } from './module.js';
import type { WeightRole } from './weights.js';

/**
 * Something that the model file reads and does not compute.
 * - `weight`: `name` is the checkpoint's, `role` says what it is for
 * - `state`: `hidden` or `router`, what a block hands to the next
 * - `history`: `conv_state` or `delayed_state` of `block`
 * - `constant`: a {@link ZayaConstant}, `padding`, `key_rows` or `value_elements`
 * - `cache`: `k_cache` or `v_cache` of `block`
 */
export interface ContextLeaf {
  kind: 'weight' | 'state' | 'history' | 'constant' | 'cache';
  name: string;
  /** Decoder block that reads it; null for embedding and head. */
  block: number | null;
  dtype: Dtype;
  /** Axes in the reference's order, as `module.ts` states them. */
  shape: Shape;
  role: WeightRole | undefined;
}

/** What a context is made from. */
export interface ContextSource {
  config: ZayaConfig;
  setting: Setting;
  /** Default: nobody watches. */
  taps?: Taps;
  sizes: CallSizes;
  /** True if the model has a head of its own (`lm_head.weight`); else it multiplies with the embedding. */
  hasHead: boolean;
  /** Positions that a cache has room for, in a run that continues sequences; undefined in one that starts and ends them. */
  capacity?: number | undefined;
  /** The tensor of a graph that stands for a leaf: the same one each time that it is asked for. */
  leaf(graph: Graph, leaf: ContextLeaf): Tensor;
}

/** The one place where what the model file reads is put together: gives the context of a segment's graph. */
export function zayaContexts(source: ContextSource): (graph: Graph, block: number | null) => ZayaContext {
  const { config, setting, taps = NO_TAPS, sizes, hasHead, capacity } = source;
  const { batch, tokens, span, padded } = sizes;
  const { num_key_value_heads: nk, head_dim: d } = config;
  const rows = batch * tokens;
  const classes = routerClasses(config);
  const constants: Record<ZayaConstant, readonly [Dtype, Shape]> = {
    mask: ['F32', padded ? [batch, 1, tokens, span] : [tokens, span]],
    cos: ['F32', [rows, 1, d]],
    sin: ['F32', [rows, 1, d]],
    expert_ids: ['I32', [classes, 1]],
    expert_keep: ['F32', [classes, 1]],
  };
  const states = { hidden: [rows, config.hidden_size], router: [rows, config.router_hidden_size] };
  const histories = {
    conv_state: [batch, convStateLength(config), convChannels(config)],
    delayed_state: [batch, 1, kWidth(config) / 2],
  };
  return (graph, block) => {
    const leaf = (
      kind: ContextLeaf['kind'],
      name: string,
      dtype: Dtype,
      shape: Shape,
      layer = block,
      role?: WeightRole,
    ) => source.leaf(graph, { kind, name, block: layer, dtype, shape, role });
    const cacheOf = (layer: number, name: string, shape: Shape) =>
      leaf('cache', name, setting(`layers.${layer}.self_attn:${name}#dtype`) as Dtype, shape, layer);
    return {
      graph,
      config,
      setting,
      taps,
      batch,
      weight: (name, role, shape) => leaf('weight', name, 'F32', shape, block, role),
      hasHead,
      state: (name) => leaf('state', name, 'F32', states[name]),
      constant: (name) => leaf('constant', name, ...constants[name]),
      padding: padded ? leaf('constant', 'padding', 'F32', [rows, 1]) : undefined,
      history: (layer, name) => leaf('history', name, 'F32', histories[name], layer),
      cache:
        capacity === undefined
          ? undefined
          : {
              span,
              keys: (layer) => cacheOf(layer, 'k_cache', [batch, capacity, nk * d]),
              values: (layer) => cacheOf(layer, 'v_cache', [batch, nk * d, capacity]),
              get keyRows() {
                return leaf('constant', 'key_rows', 'I32', [rows]);
              },
              get valueElements() {
                return leaf('constant', 'value_elements', 'I32', [rows * nk * d]);
              },
            },
    };
  };
}

/** Memory that leaves lie in. */
export interface LeafMemory {
  /** By the names of `allocateInputs`. */
  inputs: ReadonlyMap<string, ResidentTensor>;
  states: readonly LayerState[];
  cache?: ZayaCache | undefined;
  /** A weight's memory, or undefined where there is none. */
  weight(name: string): ResidentTensor | undefined;
}

/** The memory of a leaf; undefined where nothing was allocated for it. */
export function memoryOf(
  config: ZayaConfig,
  { inputs, states, cache, weight }: LeafMemory,
  { kind, name, block }: ContextLeaf,
): ResidentTensor | undefined {
  switch (kind) {
    case 'weight':
      return weight(name);
    case 'history':
      return states[block!]![name as 'conv_state' | 'delayed_state'];
    case 'cache':
      return cache === undefined ? undefined : cache.layers[block!]![name as 'k_cache' | 'v_cache'];
    default: {
      // Embedding and head read nothing that differs by type.
      const type = config.layer_types[block ?? 0]!;
      return inputs.get(name === 'mask' || name === 'cos' || name === 'sin' ? perType(name, type) : name);
    }
  }
}
