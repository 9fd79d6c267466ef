import { unmet } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import { compileGraphs } from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import { requireNearest } from '../../graph/policy.js';
import { ResidentMemory } from '../../graph/resident.js';
import { allocateStates } from '../../models/runtime/cache.js';
import { memoryOf, modelContexts } from '../../models/runtime/context.js';
import { allocateInputs, type Boundary, readBoundary, writeBoundary } from '../../models/runtime/inputs.js';
import type { Model } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { buildSegment, LOGITS } from '../../models/runtime/segments.js';
import { traceModel } from '../../models/runtime/trace.js';
import { elements } from './value.js';

/** A segment's values by tap name, and what it hands on. */
export interface SegmentResult {
  values: Map<string, Float32Array | Int32Array>;
  shapes: Map<string, readonly number[]>;
  after: Boundary;
}

/** Runs single segments of one sequence: 0 the embedding, 1 … L the blocks, L + 1 the head. */
export interface SegmentRunner extends Disposable {
  readonly segments: number;
  /** The segment that makes a value. */
  segmentOf(tap: string): number;
  /**
   * Runs a segment from what the one before handed on (absent for the embedding). Builds and compiles its
   * graph each time, so that no other segment's memory is held.
   * @param wants values to show. @param replaced values that take the place of computed ones; these are shown
   * in place of them.
   */
  run(
    segment: number,
    before: Boundary | undefined,
    wants: (name: string) => boolean,
    replaced: ReadonlyMap<string, Float32Array | Int32Array>,
  ): Promise<SegmentResult>;
  close(): void;
}

/** Input names of replaced values start so; no tap does. */
const REPLACED = 'replaced:';

/** Allocates what all segments share. Throws `BACKEND` when the device has too little memory. */
export function segmentRunner(model: Model, tokens: readonly number[]): SegmentRunner {
  const { backend, weights, config, policy } = model;
  requireNearest('step', policy);
  const setting = settingOf(policy, config);
  const memory = new ResidentMemory(backend);
  try {
    const sizes = { batch: 1, tokens: tokens.length, span: tokens.length, padded: false };
    const inputs = allocateInputs(memory, config, sizes, undefined);
    const states = allocateStates(memory, weights, 1);
    inputs.place({ past: 0, padding: [] });
    const leaves = { inputs: inputs.tensors, states, weight: (name: string) => weights.tensors.get(name) };
    const blocks = config.num_hidden_layers;
    const close = () => memory.close();
    return {
      segments: blocks + 2,
      segmentOf: (tap) => traceModel(config).segments.get(tap)!,
      async run(segment, before, wants, replaced) {
        const context = modelContexts({
          config,
          setting,
          sizes,
          hasHead: weights.tensors.has('lm_head.weight'),
          taps: {
            wants,
            apply: (name, value) =>
              replaced.has(name) ? value.graph.input(REPLACED + name, value.dtype, value.shape) : value,
          },
          leaf: (graph, leaf) => graph.resident(memoryOf(config, leaves, leaf)!),
        });
        const counts = { blocks, batch: 1, tokens: tokens.length, logits: 'all' } as const;
        const graph = buildSegment(segment, counts, context);
        if (segment > blocks) graph.outputs.delete(LOGITS);
        requireReplaceable(graph, replaced);
        await weights.ensure?.(segment);
        if (before !== undefined) writeBoundary(inputs, before);
        return compute(backend, graph, replaced, tokens, () => readBoundary(config, inputs));
      },
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    memory.close();
    throw error;
  }
}

async function compute(
  backend: Backend,
  graph: Graph,
  replaced: ReadonlyMap<string, Float32Array | Int32Array>,
  tokens: readonly number[],
  after: () => Boundary,
): Promise<SegmentResult> {
  const values = new Map<string, Float32Array | Int32Array>();
  const shapes = new Map<string, readonly number[]>();
  if (graph.outputs.size === 0 && graph.effects.length === 0) return { values, shapes, after: after() };
  using compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  for (const { name } of only.inputs)
    only.setInput(
      name,
      name === 'tokens' ? Int32Array.from(tokens) : replaced.get(name.slice(REPLACED.length))!,
    );
  await backend.native.compute([only.native]);
  for (const output of only.outputs()) {
    values.set(output.name, replaced.get(output.name) ?? elements(output));
    shapes.set(output.name, output.shape);
  }
  return { values, shapes, after: after() };
}

/** A value that nothing in the graph goes on from never passes through the seam's `apply`. */
function requireReplaceable(graph: Graph, replaced: ReadonlyMap<string, unknown>): void {
  for (const name of replaced.keys())
    if (!graph.tensors.some((tensor) => tensor.name === REPLACED + name))
      throw unmet('BAD_ARGUMENT', 'replace', 'a value that others are computed from', name, { tensor: name });
}
