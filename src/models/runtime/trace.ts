/**
 * What a model is made of, read off its model file: one run over it without a device, cut at every tap, gives
 * the values and their axes, what each is computed from, the policy's sites and the weights. Nothing of this
 * is written down anywhere else.
 */
import { hasRole } from '../../families/roles.js';
import type { Graph } from '../../graph/graph.js';
import { SITE_KINDS, type SiteKind, siteKind } from '../../graph/policy.js';
import type { ResidentTensor, Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig, RequiredTensor } from './architecture.js';
import { type ContextLeaf, modelContexts } from './context.js';
import { buildSegment } from './segments.js';

/** Where a value belongs: one per token, or one per forward step. */
export type TapScope = 'token' | 'step';

/** A named value of the model. */
export interface ModelTap {
  name: string;
  /** Decoder block, or null for embedding and head. */
  block: number | null;
  scope: TapScope;
  /** Axes of the whole value, e.g. `['T', 'nq', 'd']`; see `axisSize`. */
  axes: readonly string[];
  dtype: 'F32' | 'I32';
  /** Of an axis S in front: only so many of the last positions are held; absent for all. */
  window?: number;
}

/**
 * How the inputs of an op meet: `sum` where their errors add (sums, concatenations), `product` where relative
 * errors do.
 */
export type Joining = 'sum' | 'product';

/** What the op that makes a value reads, weights aside. */
export interface TapInputs {
  joining: Joining;
  /** Names, in the order in which they are made. */
  inputs: readonly string[];
}

/** A place of a model at which a policy chooses. */
export interface PolicySite {
  /** E.g. `layers.3.self_attn.o_proj#round`. */
  name: string;
  kind: SiteKind;
  /** Decoder block, or null for embedding and head. */
  block: number | null;
  /**
   * Segments whose graphs depend on the choice: 0 the embedding, 1 … L the blocks, L + 1 the head. A tied
   * embedding weight has two.
   */
  segments: readonly number[];
  /** What it can be set to; the first is what holds where no rule says otherwise. */
  values: readonly string[];
}

/** What a run over the model file shows. */
export interface Trace {
  /** In execution order. */
  taps: readonly ModelTap[];
  /** The segment that makes each value: 0 the embedding, 1 … L the blocks, L + 1 the head. */
  segments: ReadonlyMap<string, number>;
  /**
   * By tap. What a step leaves or finds has no inputs, but for the states of a run with a cache, which are
   * made of the call's own values.
   */
  edges: ReadonlyMap<string, TapInputs>;
  /** In the order in which the graphs ask for them. */
  sites: readonly PolicySite[];
  /** In the order in which the graphs read them. */
  weights: readonly RequiredTensor[];
  /** In a run with a cache: the states (by tap) that a value reads, which the call before has left. */
  histories: ReadonlyMap<string, readonly string[]>;
  /** Taps whose own op reads a weight. */
  weighted: ReadonlySet<string>;
  /** By tap, the matrices that it is a product with. */
  products: ReadonlyMap<string, readonly string[]>;
  /** Taps whose own op sums products, of weights or of other values. */
  multiplied: ReadonlySet<string>;
  /**
   * For each segment, the value that each state holds before it: what the embedding or an earlier block has
   * handed on.
   */
  before: readonly ReadonlyMap<string, string>[];
}

/** What is traced. */
export interface TraceOptions {
  /** True for a checkpoint with `lm_head.weight`; default: what the config says. */
  hasHead?: boolean;
  /** True for a run with a cache, which shows states after the step; default false. */
  cached?: boolean;
}

/** Tokens of the graphs: the fewest with a token before another. */
const TOKENS = 2;
/** Inputs that stand for values at which the graph is cut. */
const CUT = 'tap:';
/** Resident memory of a state is named so. */
const STATE = 'state:';
const WEIGHT = 'weight:';
const HISTORY = 'history:';
const STATE_ROLES = ['state', 'cache.key', 'cache.value'] as const;

/** By config object, and by what it says: a model that is opened again has another object. */
const traces = new WeakMap<ModelConfig, Map<string, Trace>>();
const tracesByText = new Map<string, Map<string, Trace>>();
/** Models whose traces are kept after their config objects. */
const KEPT = 4;

function tracesOf(config: ModelConfig): Map<string, Trace> {
  const own = traces.get(config);
  if (own !== undefined) return own;
  const text = JSON.stringify(config);
  const known = tracesByText.get(text) ?? new Map<string, Trace>();
  tracesByText.delete(text);
  tracesByText.set(text, known);
  if (tracesByText.size > KEPT) tracesByText.delete(tracesByText.keys().next().value!);
  traces.set(config, known);
  return known;
}

/**
 * Traces a model. Needs neither weights nor native code; the result is kept as long as the config object, and
 * for the models used last.
 */
export function traceModel(config: ModelConfig, options: TraceOptions = {}): Trace {
  const { hasHead = !config.tie_word_embeddings, cached = false } = options;
  const known = tracesOf(config);
  const key = `${hasHead} ${cached}`;
  const trace = known.get(key) ?? makeTrace(config, hasHead, cached);
  known.set(key, trace);
  return trace;
}

/**
 * All taps of a model in execution order: embedding, blocks, head. With `cached`, each block's states after
 * the step too, where they are written.
 */
export function modelTaps(config: ModelConfig, cached = false): readonly ModelTap[] {
  return traceModel(config, { cached }).taps;
}

function makeTrace(config: ModelConfig, hasHead: boolean, cached: boolean): Trace {
  const blocks = config.num_hidden_layers;
  const taps: ModelTap[] = [];
  const segments = new Map<string, number>();
  const edges = new Map<string, TapInputs>();
  const order = new Map<string, number>();
  const sites = new Map<string, PolicySite & { segments: number[] }>();
  const weights = new Map<string, RequiredTensor>();
  // What the states hold at the start of a segment: the last value that was written to them.
  const held = new Map<string, string>();
  const histories = new Map<string, readonly string[]>();
  const products = new Map<string, readonly string[]>();
  const weighted = new Set<string>();
  const multiplied = new Set<string>();
  const architecture = architectureOf(config);
  const statesOf = Object.entries(architecture.histories(config));
  const isState = (name: string) => STATE_ROLES.some((role) => hasRole(architecture.family, role, name));
  const before: ReadonlyMap<string, string>[] = [];
  for (let segment = 0; segment <= blocks + 1; segment++) {
    const block = segment >= 1 && segment <= blocks ? segment - 1 : null;
    before.push(new Map([...held].map(([state, name]) => [state.slice(STATE.length), name])));
    const own: ModelTap[] = [];
    const setting = (name: string) => noteSite(sites, name, segment, block);
    const sizes = { batch: 1, tokens: TOKENS, span: TOKENS, padded: false };
    const memory = new Map<string, ResidentTensor>();
    const context = modelContexts({
      config,
      setting,
      sizes,
      hasHead,
      capacity: cached ? TOKENS : undefined,
      taps: {
        wants: () => true,
        apply: (name, value) => value.graph.input(CUT + name, value.dtype, value.shape),
        declare(name, axes, { dtype }) {
          const scope = axes.startsWith('T') ? 'token' : 'step';
          const window = axes.startsWith('S') ? cacheWindow(config, block!) : undefined;
          own.push({
            name,
            block,
            scope,
            axes: axes.split(','),
            dtype: dtype as 'F32' | 'I32',
            window,
          });
        },
      },
      leaf(graph, leaf) {
        if (leaf.kind === 'weight') noteWeight(weights, leaf);
        return graph.resident(leafMemory(memory, leaf));
      },
    });
    const sizesOf = { blocks, batch: 1, tokens: TOKENS, logits: 'all' } as const;
    const graph = buildSegment(segment, sizesOf, context);
    taps.push(...own);
    for (const { name } of own) segments.set(name, segment);
    for (let index = order.size; index < taps.length; index++) order.set(taps[index]!.name, index);
    for (const { name, scope } of own) {
      const { joining, inputs, reads, readsWeights, multiplies } = inputsOf(graph, name, held);
      const ordered = inputs.toSorted((a, b) => order.get(a)! - order.get(b)!);
      const isBare = scope === 'step' && !isState(name);
      edges.set(name, isBare ? { joining: 'sum', inputs: [] } : { joining, inputs: ordered });
      const weights = reads
        .filter((each) => each.startsWith(WEIGHT))
        .map((each) => each.slice(WEIGHT.length));
      if (readsWeights) weighted.add(name);
      if (multiplies) multiplied.add(name);
      if (weights.length > 0) products.set(name, weights);
      if (!cached || isState(name)) continue;
      const left = statesOf
        .filter(([history]) => reads.includes(HISTORY + history))
        .map(([, { tap }]) => `layers.${block}${tap}`);
      histories.set(name, [...left, ...ordered.filter(isState)]);
    }
    for (const [state, name] of writtenStates(graph)) held.set(state, name);
  }
  return {
    taps,
    segments,
    edges,
    sites: [...sites.values()],
    weights: [...weights.values()],
    histories,
    weighted,
    products,
    multiplied,
    before,
  };
}

/**
 * Positions that a block's cache keeps between calls: one less than its sliding window; undefined for all.
 */
function cacheWindow(config: ModelConfig, block: number): number | undefined {
  const { window } = architectureOf(config).attention(config, config.layer_types[block]!);
  return window === undefined ? undefined : window - 1;
}

function noteSite(
  sites: Map<string, PolicySite & { segments: number[] }>,
  name: string,
  segment: number,
  block: number | null,
): string {
  const kind = siteKind(name);
  const site = sites.get(name);
  if (site === undefined)
    sites.set(name, { name, kind, block, segments: [segment], values: SITE_KINDS[kind] });
  else if (site.segments.at(-1) !== segment) site.segments.push(segment);
  return SITE_KINDS[kind][0];
}

function noteWeight(weights: Map<string, RequiredTensor>, { name, shape, role }: ContextLeaf): void {
  if (!weights.has(name)) weights.set(name, { name, shape, role: role! });
}

/** Memory that nobody allocated: nothing reads a leaf's memory until a graph is compiled. */
function leafMemory(memory: Map<string, ResidentTensor>, { kind, name, dtype, shape }: ContextLeaf) {
  const key = `${kind}:${name}`;
  let leaf = memory.get(key);
  if (leaf === undefined) {
    leaf = { name: key, dtype, shape } as ResidentTensor;
    memory.set(key, leaf);
  }
  return leaf;
}

/** Ops that sum products. */
const SUMS: ReadonlySet<string> = new Set(['mulMat', 'mulMatId', 'ssmConv']);

/** Ops in which relative errors of the operands add, where these come from different values. */
const PRODUCTS: ReadonlySet<string> = new Set(['mul', 'div', 'mulMat', 'mulMatId', 'getRows']);

/**
 * What a value is computed from: the cuts and states that lie before it. `reads`: matrices that it is a
 * product with, and what the calls before have left. `multiplies`: it sums products, of whatever values.
 */
function inputsOf(
  graph: Graph,
  name: string,
  held: ReadonlyMap<string, string>,
): TapInputs & { reads: readonly string[]; readsWeights: boolean; multiplies: boolean } {
  const sources = new Map<Tensor, ReadonlySet<string>>();
  const reads = new Set<string>();
  let joining: Joining = 'sum';
  let readsWeights = false;
  let multiplies = false;
  const visit = (tensor: Tensor): ReadonlySet<string> => {
    const known = sources.get(tensor);
    if (known !== undefined) return known;
    const found = new Set<string>();
    if (tensor.op === 'input' && tensor.name.startsWith(CUT)) found.add(tensor.name.slice(CUT.length));
    else if (tensor.op === 'resident' && held.has(tensor.name)) found.add(held.get(tensor.name)!);
    else {
      if (tensor.op === 'resident' && tensor.name.startsWith(HISTORY)) reads.add(tensor.name);
      readsWeights ||= tensor.op === 'resident' && tensor.name.startsWith(WEIGHT);
      multiplies ||= SUMS.has(tensor.op);
      if (tensor.op === 'mulMat' || tensor.op === 'mulMatId') {
        const [matrix] = tensor.sources;
        if (matrix!.name.startsWith(WEIGHT)) reads.add(matrix!.name);
      }
      const parts = tensor.sources.map(visit);
      for (const part of parts) for (const input of part) found.add(input);
      const fed = parts.filter((part) => part.size > 0);
      if (PRODUCTS.has(tensor.op) && fed.length > 1 && found.size > 1) joining = 'product';
    }
    sources.set(tensor, found);
    return found;
  };
  const output = graph.outputs.get(name)!;
  const inputs = [...visit(output)];
  return { joining, inputs, reads: [...reads], readsWeights, multiplies };
}

/** Values that a segment writes into the states, by the states' names. */
function writtenStates(graph: Graph): [state: string, value: string][] {
  return graph.effects.flatMap((effect) => {
    const written = effect.sources.find(({ op, name }) => op === 'input' && name.startsWith(CUT));
    const state = effect.sources.find(({ op, name }) => op === 'resident' && name.startsWith(STATE));
    return written === undefined || state === undefined
      ? []
      : [[state.name, written.name.slice(CUT.length)] as [string, string]];
  });
}
