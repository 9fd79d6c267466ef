import { badArgument, unmet } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import {
  type CompiledGraph,
  type CompiledGraphs,
  compileGraphs,
  type OutputValue,
} from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import { isStochastic, type Policy } from '../../graph/policy.js';
import { ResidentMemory } from '../../graph/resident.js';
import { allocateStates, type LayerState, type ModelCache } from './cache.js';
import type { CallSizes } from './call-sizes.js';
import { memoryOf, modelContexts } from './context.js';
import { allocateInputs, type CallInputs, type CallPlace } from './inputs.js';
import type { ModelWeights } from './loader.js';
import { settingOf } from './model-policy.js';
import { type RandomLeaf, randomValues } from './random-leaf.js';
import { buildSegment, LOGITS } from './segments.js';
import { NO_TAPS, type Taps } from './tap.js';
import { checkTokenIds } from './token-ids.js';

/**
 * Receives the values of one segment (embedding, a block, head) after it ran. Their memory may be reused once
 * the promise resolves, but for those of the embedding, which last until the end of the run.
 */
export type SegmentSink = (segment: number, values: readonly OutputValue[]) => Promise<void>;

/** Watches each segment of a run: right before it runs, and when it has run. */
export interface SegmentWatch {
  before(segment: number, graph: CompiledGraph): Promise<void> | void;
  /**
   * The values of the segment are in its memory until the promise resolves, those of all nodes with `nodes`.
   */
  after(segment: number, graph: CompiledGraph): Promise<void> | void;
}

/** What a plan is for. */
export interface PlanOptions {
  /** Tokens of each sequence in a call. */
  tokens: number;
  /** Sequences; default 1. */
  batch?: number;
  /** Values to make readable; default none. */
  taps?: Taps;
  /**
   * Rows that the language-model head computes: `all` tokens (default) or the `last` of each sequence. A
   * tapped `lm_head` needs `all`.
   */
  logits?: 'all' | 'last';
  /** True if sequences may start with padding; default false. */
  padded?: boolean;
  /**
   * Continue sequences whose past is in a cache. `span`: cached positions that attention reads, at least
   * `past + tokens`. Without it each run starts and ends its sequences.
   */
  cached?: { cache: ModelCache; span: number };
  /** True to keep the value of every node until its segment has been watched. Default false. */
  nodes?: boolean;
}

/** Options of {@link ModelPlan.run}. */
export interface RunOptions {
  /** Takes the values of a segment while the next one computes. */
  sink?: SegmentSink;
  /** Called before a segment runs, to fill the inputs that taps have put into its graph. */
  prepare?: (segment: number, graph: CompiledGraph) => Promise<void> | void;
  /** Default: an empty past and no padding. */
  place?: CallPlace;
  watch?: SegmentWatch | undefined;
  /** Seed of stochastic rounding; default: the policy's. */
  seed?: number | undefined;
}

/** The compiled graphs of a forward call of fixed sizes; runs as often as wanted. */
export interface ModelPlan extends Disposable {
  /** 0 is the embedding, 1 … L the blocks, L + 1 the head. */
  readonly segments: readonly CompiledGraph[];
  readonly batch: number;
  readonly tokens: number;
  /** Rows of logits of each sequence: {@link tokens} or 1. */
  readonly logitRows: number;
  /** Nodes that compute or move data in one run. */
  readonly computeNodes: number;
  /** Bytes of device memory for intermediate values, states and constants. */
  readonly sizeBytes: number;
  /**
   * Runs the model on token ids, `batch · tokens` of them in the order of the sequences, each below the
   * vocabulary size (`BAD_ARGUMENT`). Gives logits F32 [batch · logitRows, V]. Runs of one plan must not
   * overlap.
   */
  run(tokens: readonly number[], options?: RunOptions): Promise<Float32Array>;
  close(): void;
}

/**
 * Builds and compiles the graphs: one segment for the embedding, one a block, one for the head. Blocks
 * alternate between two memory arenas, so that the values of one can be written to disk while the next
 * computes; they pass the residual stream and the router state through resident memory.
 */
export function planModel(
  weights: ModelWeights,
  backend: Backend,
  policy: Policy,
  options: PlanOptions,
): ModelPlan {
  const {
    tokens,
    batch = 1,
    taps = NO_TAPS,
    logits = 'all',
    padded = false,
    cached,
    nodes = false,
  } = options;
  for (const [name, size] of Object.entries({ tokens, batch }))
    if (!Number.isInteger(size) || size < 1) throw badArgument('planModel', `at least 1 for ${name}`, size);
  const sizes: CallSizes = { batch, tokens, span: cached?.span ?? tokens, padded };
  const memory = new ResidentMemory(backend);
  const compiled: CompiledGraphs[] = [];
  const close = () => {
    for (const graphs of compiled.splice(0)) graphs.close();
    memory.close();
  };
  try {
    const inputs = allocateInputs(memory, weights.config, sizes, cached?.cache);
    const states = cached?.cache.states ?? allocateStates(memory, weights, batch);
    const randoms = new Map<Graph, RandomLeaf[]>();
    const isRandom = isStochastic(policy);
    const graphs = buildGraphs(weights, policy, sizes, {
      randoms: isRandom ? randoms : undefined,
      taps,
      logits,
      inputs,
      states,
      cached,
    });
    const compile = (list: readonly Graph[]) => {
      const result = compileGraphs(backend, list, nodes);
      compiled.push(result);
      return result.graphs;
    };
    const [embedding, head] = [graphs[0]!, graphs[graphs.length - 1]!];
    const ofBlocks = graphs.slice(1, -1);
    const arenas = [0, 1].map((parity) => compile(ofBlocks.filter((_, layer) => layer % 2 === parity)));
    const blocks = ofBlocks.map((_, layer) => arenas[layer % 2]![layer >> 1]!);
    const segments = [...compile([embedding]), ...blocks, ...compile([head])];
    let placed: CallPlace | undefined;
    return {
      segments,
      batch,
      tokens,
      logitRows: logits === 'all' ? tokens : 1,
      computeNodes: segments.reduce((sum, { native }) => sum + native.computeNodes, 0),
      sizeBytes: memory.sizeBytes + compiled.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      async run(
        ids,
        { sink, prepare, watch, seed = policy.rounding?.seed ?? 0, place = { past: 0, padding: [] } } = {},
      ) {
        if (ids.length !== batch * tokens)
          throw badArgument('run', `${batch * tokens} token ids`, ids.length);
        checkTokenIds('run', ids, weights.config.vocab_size);
        checkPlace(place, sizes, cached !== undefined);
        if (placed?.past !== place.past || placed.padding !== place.padding) inputs.place(place);
        placed = place;
        segments[0]!.setInput('tokens', Int32Array.from(ids));
        const fill = (segment: CompiledGraph) => {
          const used = new Set(segment.inputs.map(({ name }) => name));
          for (const leaf of randoms.get(segment.graph) ?? [])
            if (used.has(leaf.name)) segment.setInput(leaf.name, randomValues(seed, leaf, sizes, place));
        };
        if ([sink, prepare, watch, weights.ensure].every((each) => each === undefined) && !isRandom)
          await backend.native.compute(segments.map(({ native }) => native));
        else
          await runSegments(
            segments,
            backend,
            weights.ensure,
            sink,
            async (index, segment) => {
              fill(segment);
              await prepare?.(index, segment);
            },
            watch,
          );
        const { bytes } = segments[segments.length - 1]!.outputs().find(({ name }) => name === LOGITS)!;
        return new Float32Array(bytes.slice().buffer);
      },
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

interface GraphParts {
  taps: Taps;
  /** Collects what is to be filled with random numbers; absent where values are rounded to nearest. */
  randoms: Map<Graph, RandomLeaf[]> | undefined;
  logits: 'all' | 'last';
  inputs: CallInputs;
  states: readonly LayerState[];
  cached: PlanOptions['cached'];
}

function buildGraphs(weights: ModelWeights, policy: Policy, sizes: CallSizes, parts: GraphParts): Graph[] {
  const { config } = weights;
  const { batch, tokens } = sizes;
  const { taps, randoms, inputs, states, cached } = parts;
  const memory = {
    inputs: inputs.tensors,
    states,
    cache: cached?.cache,
    weight: (name: string) => weights.tensors.get(name),
  };
  const context = modelContexts({
    config,
    setting: settingOf(policy, config),
    taps,
    sizes,
    hasHead: weights.tensors.has('lm_head.weight'),
    capacity: cached?.cache.capacity,
    leaf: (graph, leaf) => graph.resident(memoryOf(config, memory, leaf) ?? missing(leaf.name)),
    random:
      randoms &&
      ((graph, leaf) => {
        randoms.set(graph, [...(randoms.get(graph) ?? []), leaf]);
        return graph.input(leaf.name, 'F32', leaf.shape);
      }),
  });
  const counts = { blocks: config.num_hidden_layers, batch, tokens, logits: parts.logits };
  return Array.from({ length: counts.blocks + 2 }, (_, segment) => buildSegment(segment, counts, context));
}

/**
 * Values of fewer bytes are taken before the next segment starts. ggml's threads wait for each other in a
 * loop at every node: a short interruption of one costs all of them more than the work itself.
 */
const SHORT_BYTES = 2 ** 20;

async function runSegments(
  segments: readonly CompiledGraph[],
  backend: Backend,
  ensure: ModelWeights['ensure'] = async () => {},
  sink: SegmentSink = async () => {},
  prepare: NonNullable<RunOptions['prepare']> = () => {},
  watch?: SegmentWatch,
): Promise<void> {
  // Memory of a segment is used again two segments later: its values must have been taken by then.
  const pending: Promise<void>[] = [];
  const keep = (work: Promise<void>) => {
    work.catch(() => {}); // awaited later; must not count as unhandled meanwhile
    pending.push(work);
    return work;
  };
  const taken: Promise<void>[] = [];
  try {
    let weights = keep(ensure(0));
    for (const [index, segment] of segments.entries()) {
      await taken[index - 2];
      await weights;
      if (index + 1 < segments.length) weights = keep(ensure(index + 1));
      await prepare(index, segment);
      await watch?.before(index, segment);
      await backend.native.compute([segment.native]);
      await watch?.after(index, segment);
      const take = (all: readonly OutputValue[]) => {
        const values = all.filter(({ name }) => name !== LOGITS);
        return values.length === 0 ? Promise.resolve() : keep(sink(index, values));
      };
      const collected = segment.collect();
      const done = 'then' in collected ? keep(collected.then(take)) : take(collected);
      taken.push(done);
      const isShort = !('then' in collected) && byteLength(collected) < SHORT_BYTES;
      if (isShort) await done;
    }
  } finally {
    await Promise.allSettled(pending);
  }
  await Promise.all(taken);
}

function byteLength(values: readonly OutputValue[]): number {
  return values.reduce((sum, { name, bytes }) => sum + (name === LOGITS ? 0 : bytes.byteLength), 0);
}

/** ggml aborts on rows out of range, so a call must lie within the span. */
function checkPlace(
  { past, padding }: CallPlace,
  { tokens, span, padded }: CallSizes,
  cached: boolean,
): void {
  const fits = Number.isInteger(past) && past >= 0 && past + tokens <= span && (cached || past === 0);
  if (!fits) throw badArgument('run', `a past of 0 to ${cached ? span - tokens : 0} positions`, past);
  if (!padded && padding.some((count) => count > 0))
    throw badArgument('run', 'no padding in a plan without it', padding.join(', '));
}

function missing(name: string): never {
  throw unmet('MISSING_TENSOR', 'planModel', name, 'none', { tensor: name });
}
