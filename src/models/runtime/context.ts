import type { Dtype } from '../../dtype.js';
import type { Graph } from '../../graph/graph.js';
import type { Setting } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import type { ResidentTensor, Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig, WeightRole } from './architecture.js';
import { axisSize } from './axes.js';
import type { LayerState, ModelCache } from './cache.js';
import { cacheSite } from './cache-sites.js';
import { type CallSizes, perType, TYPE_CONSTANTS, type TypeConstant } from './call-sizes.js';
import type { ModelContext } from './module.js';
import type { RandomLeaf } from './random-leaf.js';
import { NO_TAPS, type Taps } from './tap.js';

/**
 * Something that the model file reads and does not compute.
 * - `weight`: `name` is the checkpoint's, `role` says what it is for
 * - `state`: what a segment hands to the next: `hidden` and others of the architecture
 * - `history`: what `block` remembers of the tokens before
 * - `constant`: `mask`, `cos`, `sin`, a table of the architecture, `padding`, `key_rows` or `value_elements`
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
  config: ModelConfig;
  setting: Setting;
  /** Default: nobody watches. */
  taps?: Taps;
  sizes: CallSizes;
  /** True if the model has a head of its own (`lm_head.weight`); else it multiplies with the embedding. */
  hasHead: boolean;
  /**
   * Positions that a cache has room for, in a run that continues sequences; undefined in one that starts and
   * ends them.
   */
  capacity?: number | undefined;
  /** The tensor of a graph that stands for a leaf: the same one each time that it is asked for. */
  leaf(graph: Graph, leaf: ContextLeaf): Tensor;
  /** Makes a leaf of random numbers where values are rounded stochastically; absent: to nearest. */
  random?: ((graph: Graph, leaf: RandomLeaf) => Tensor) | undefined;
}

/** The one place where what the model file reads is put together: gives the context of a segment's graph. */
export function modelContexts(source: ContextSource): (graph: Graph, block: number | null) => ModelContext {
  const { config, setting, taps = NO_TAPS, sizes, hasHead, capacity } = source;
  const { batch, tokens, span, padded } = sizes;
  const { num_key_value_heads: nk, head_dim: d } = config;
  const rows = batch * tokens;
  const architecture = architectureOf(config);
  const tables = Object.entries(architecture.tables(config)).map(
    ([name, { shape, values }]) =>
      [name, [values instanceof Int32Array ? 'I32' : 'F32', shape]] as [string, [Dtype, Shape]],
  );
  const constants: Readonly<Record<string, readonly [Dtype, Shape]>> = {
    mask: ['F32', padded ? [batch, 1, tokens, span] : [tokens, span]],
    cos: ['F32', [rows, 1, d]],
    sin: ['F32', [rows, 1, d]],
    cos_product: ['F32', [rows, 1, d]],
    sin_product: ['F32', [rows, 1, d]],
    ...Object.fromEntries(tables),
  };
  const states = architecture.states(config);
  const histories = architecture.histories(config);
  return (graph, block) => {
    const leaf = (
      kind: ContextLeaf['kind'],
      name: string,
      dtype: Dtype,
      shape: Shape,
      layer = block,
      role?: WeightRole,
    ) => source.leaf(graph, { kind, name, block: layer, dtype, shape, role });
    const cacheOf = (layer: number, name: 'k_cache' | 'v_cache', shape: Shape) =>
      leaf('cache', name, setting(cacheSite(config, layer, name)) as Dtype, shape, layer);
    return {
      graph,
      config,
      setting,
      taps,
      random:
        source.random === undefined
          ? undefined
          : (site, dtype, shape, tokens) =>
              source.random!(graph, { name: randomName(graph, site), site, dtype, shape, tokens }),
      batch,
      axis: (name) => axisSize(config, name, 1),
      weight: (name, role, shape) => leaf('weight', name, 'F32', shape, block, role),
      hasHead,
      state: (name) => leaf('state', name, 'F32', [rows, states[name]!]),
      constant: (name) => leaf('constant', name, ...constants[name]!),
      padding: padded ? leaf('constant', 'padding', 'F32', [rows, 1]) : undefined,
      history: (layer, name) => leaf('history', name, 'F32', [batch, ...histories[name]!.shape], layer),
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

/** A new name for the input of a site's random numbers: a site may round several values. */
function randomName(graph: Graph, site: string): string {
  const taken = new Set(graph.tensors.filter(({ op }) => op === 'input').map(({ name }) => name));
  let name = `random:${site}`;
  for (let count = 2; taken.has(name); count++) name = `random:${site}~${count}`;
  return name;
}

/** Memory that leaves lie in. */
export interface LeafMemory {
  /** By the names of `allocateInputs`. */
  inputs: ReadonlyMap<string, ResidentTensor>;
  states: readonly LayerState[];
  cache?: ModelCache | undefined;
  /** A weight's memory, or undefined where there is none. */
  weight(name: string): ResidentTensor | undefined;
}

/** The memory of a leaf; undefined where nothing was allocated for it. */
export function memoryOf(
  config: ModelConfig,
  { inputs, states, cache, weight }: LeafMemory,
  { kind, name, block }: ContextLeaf,
): ResidentTensor | undefined {
  switch (kind) {
    case 'weight':
      return weight(name);
    case 'history':
      return states[block!]![name];
    case 'cache':
      return cache === undefined ? undefined : cache.layers[block!]![name as 'k_cache' | 'v_cache'];
    default: {
      // Embedding and head read nothing that differs by type.
      const type = config.layer_types[block ?? 0]!;
      const isPerType = (TYPE_CONSTANTS as readonly string[]).includes(name);
      return inputs.get(isPerType ? perType(name as TypeConstant, type) : name);
    }
  }
}
