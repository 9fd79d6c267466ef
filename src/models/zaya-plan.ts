import { ZayascopeError } from '../errors.js';
import { causalMask } from '../graph/attention.js';
import type { Backend } from '../graph/backend.js';
import {
  type CompiledGraph,
  type CompiledGraphs,
  compileGraphs,
  type OutputValue,
} from '../graph/compile.js';
import { Graph } from '../graph/graph.js';
import type { Policy } from '../graph/policy.js';
import { ResidentMemory, type ResidentSpec, writeResident } from '../graph/resident.js';
import { rotaryTables } from '../graph/rotary.js';
import type { ResidentTensor } from '../graph/tensor.js';
import type { Taps } from './tap.js';
import { type ZayaConstant, type ZayaContext, zayaDecoderLayer, zayaEmbedding, zayaHead } from './zaya.js';
import {
  convChannels,
  convStateLength,
  type LayerType,
  rotaryDim,
  routerClasses,
  type ZayaConfig,
} from './zaya-config.js';
import type { ZayaWeights } from './zaya-loader.js';

/** Receives the values of one segment (embedding, a block, head) after it ran. Their memory may be reused once the promise resolves. */
export type SegmentSink = (segment: number, values: readonly OutputValue[]) => Promise<void>;

/** The compiled graphs of a prefill of one sequence with a fixed number of tokens; runs as often as wanted. */
export interface ZayaPlan extends Disposable {
  /** 0 is the embedding, 1 … L the blocks, L + 1 the head. */
  readonly segments: readonly CompiledGraph[];
  readonly tokens: number;
  /** Nodes that compute or move data in one run. */
  readonly computeNodes: number;
  /** Bytes of device memory for intermediate values, states and constants. */
  readonly sizeBytes: number;
  /**
   * Runs the model on token ids (exactly {@link tokens} of them, each below the vocabulary size: `BAD_ARGUMENT`) and gives the logits of the last token, F32 [V]. With a sink,
   * a segment's values are handed over while the next segment computes. Runs of one plan must not overlap.
   */
  run(tokens: readonly number[], sink?: SegmentSink): Promise<Float32Array>;
  close(): void;
}

/**
 * Builds and compiles the graphs: one segment for the embedding, one a block, one for the head. Blocks alternate between two memory arenas, so that the values of one can be
 * written to disk while the next computes; they pass the residual stream and the router state through resident memory.
 */
export function planZaya(
  weights: ZayaWeights,
  backend: Backend,
  policy: Policy,
  tokens: number,
  taps: Taps,
): ZayaPlan {
  const { config } = weights;
  if (!Number.isInteger(tokens) || tokens < 1)
    throw new ZayascopeError('BAD_ARGUMENT', `planZaya: expected at least 1 token, got ${tokens}`, {
      op: 'planZaya',
    });
  const memory = new ResidentMemory(backend);
  const compiled: CompiledGraphs[] = [];
  const close = () => {
    for (const graphs of compiled.splice(0)) graphs.close();
    memory.close();
  };
  try {
    const resident = allocateResident(memory, config, tokens);
    const context = (graph: Graph, type: LayerType): ZayaContext => ({
      graph,
      config,
      policy,
      taps,
      weight: (name) => graph.resident(required(weights.tensors, name)),
      hasWeight: (name) => weights.tensors.has(name),
      state: (name) => graph.resident(required(resident, name)),
      constant: (name) => graph.resident(required(resident, residentName(name, type))),
    });
    const embedding = new Graph('embedding');
    zayaEmbedding(context(embedding, 'hybrid'), embedding.input('tokens', 'I32', [tokens]));
    const blocks = config.layer_types.map((type, layer) => {
      const graph = new Graph(`layers.${layer}`);
      zayaDecoderLayer(context(graph, type), layer);
      return graph;
    });
    const head = new Graph('head');
    const logits = zayaHead(context(head, 'hybrid'));
    head.output(LOGITS, logits);

    const compile = (graphs: readonly Graph[]) => {
      const result = compileGraphs(backend, graphs);
      compiled.push(result);
      return result.graphs;
    };
    const [first] = compile([embedding]);
    const even = compile(blocks.filter((_, layer) => layer % 2 === 0));
    const odd = compile(blocks.filter((_, layer) => layer % 2 === 1));
    const [last] = compile([head]);
    const middle = blocks.map((_, layer) => (layer % 2 === 0 ? even : odd)[layer >> 1]!);
    const segments = [first!, ...middle, last!];
    return {
      segments,
      tokens,
      computeNodes: segments.reduce((sum, { native }) => sum + native.computeNodes, 0),
      sizeBytes: memory.sizeBytes + compiled.reduce((sum, graphs) => sum + graphs.sizeBytes, 0),
      run: (ids, sink) => run(segments, backend, config, tokens, ids, sink),
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Output name of the logits in the head's graph, beside the tap `lm_head`. */
const LOGITS = '#logits';

async function run(
  segments: readonly CompiledGraph[],
  backend: Backend,
  config: ZayaConfig,
  tokens: number,
  ids: readonly number[],
  sink: SegmentSink | undefined,
): Promise<Float32Array> {
  checkTokens(ids, tokens, config.vocab_size);
  segments[0]!.setInput('tokens', Int32Array.from(ids));
  if (sink === undefined) await backend.native.compute(segments.map(({ native }) => native));
  else await runSegments(segments, backend, sink);
  const { bytes } = segments[segments.length - 1]!.outputs().find(({ name }) => name === LOGITS)!;
  const width = bytes.byteLength / tokens;
  return new Float32Array(bytes.slice(bytes.byteLength - width).buffer);
}

async function runSegments(
  segments: readonly CompiledGraph[],
  backend: Backend,
  sink: SegmentSink,
): Promise<void> {
  // Memory of a segment is used again two segments later: its values must have been taken by then.
  const taken: Promise<void>[] = [];
  try {
    for (const [index, segment] of segments.entries()) {
      await taken[index - 2];
      await backend.native.compute([segment.native]);
      const values = segment.outputs().filter(({ name }) => name !== LOGITS);
      const done = values.length === 0 ? Promise.resolve() : sink(index, values);
      done.catch(() => {}); // awaited below or two segments later; must not count as unhandled meanwhile
      taken.push(done);
    }
  } finally {
    await Promise.allSettled(taken);
  }
  await Promise.all(taken);
}

function checkTokens(ids: readonly number[], tokens: number, vocabulary: number): void {
  if (ids.length !== tokens)
    throw new ZayascopeError('BAD_ARGUMENT', `run: expected ${tokens} token ids, got ${ids.length}`, {
      op: 'run',
    });
  const at = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (at >= 0)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `run: expected token ids from 0 to ${vocabulary - 1}, got ${ids[at]} at position ${at}`,
      {
        op: 'run',
      },
    );
}

function residentName(name: ZayaConstant, type: LayerType): string {
  return name === 'mask' || name === 'cos' || name === 'sin' ? `${name}:${type}` : name;
}

function allocateResident(
  memory: ResidentMemory,
  config: ZayaConfig,
  tokens: number,
): Map<string, ResidentTensor> {
  const { hidden_size, head_dim, num_key_value_heads, num_experts, router_hidden_size } = config;
  const classes = routerClasses(config);
  const delayed = (num_key_value_heads * head_dim) / 2;
  const entries: [ResidentSpec, ArrayBufferView | undefined][] = [];
  const add = (name: string, shape: number[], values?: ArrayBufferView, dtype: 'F32' | 'I32' = 'F32') =>
    entries.push([{ name, dtype, shape }, values]);

  add('hidden', [tokens, hidden_size]);
  add('router', [tokens, router_hidden_size]);
  const history = convStateLength(config);
  if (history > 0)
    add('conv_state', [history, convChannels(config)], new Float32Array(history * convChannels(config)));
  add('delayed_state', [1, delayed], new Float32Array(delayed));
  const experts = Array.from({ length: classes }, (_, index) => index);
  add(
    'expert_ids',
    [classes, 1],
    Int32Array.from(experts, (index) => (index === num_experts ? 0 : index)),
    'I32',
  );
  add(
    'expert_keep',
    [classes, 1],
    Float32Array.from(experts, (index) => (index === num_experts ? 0 : 1)),
  );
  const positions = Array.from({ length: tokens }, (_, position) => position);
  for (const type of new Set(config.layer_types)) {
    const window = type === 'hybrid_sliding' ? (config.sliding_window ?? undefined) : undefined;
    const { cos, sin } = rotaryTables(
      positions,
      head_dim,
      rotaryDim(config, type),
      config.rope_parameters[type]!.rope_theta,
    );
    add(residentName('mask', type), [tokens, tokens], causalMask(tokens, 0, window));
    add(residentName('cos', type), [tokens, 1, head_dim], cos);
    add(residentName('sin', type), [tokens, 1, head_dim], sin);
  }
  const tensors = memory.allocate(entries.map(([spec]) => spec));
  for (const [index, [, values]] of entries.entries())
    if (values !== undefined) writeResident(tensors[index]!, values);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

function required(tensors: ReadonlyMap<string, ResidentTensor>, name: string): ResidentTensor {
  const found = tensors.get(name);
  if (found === undefined)
    throw new ZayascopeError('MISSING_TENSOR', `planZaya: expected ${name}, got none`, {
      op: 'planZaya',
      tensor: name,
    });
  return found;
}
