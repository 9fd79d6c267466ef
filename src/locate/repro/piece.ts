/**
 * The piece of the model between a value and the nearest values that are given: the graph of its segment, cut
 * there.
 */
import type { Dtype } from '../../dtype.js';
import { unmet } from '../../errors.js';
import { needed } from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import { cast, concat, cont, slice } from '../../graph/ops-layout.js';
import { parametersSite, type Setting } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import type { Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { modelContexts } from '../../models/runtime/context.js';
import { matrixDtype } from '../../models/runtime/loader.js';
import type { ModelContext } from '../../models/runtime/module.js';
import { buildSegment } from '../../models/runtime/segments.js';
import { type ModelTap, modelTaps, traceModel } from '../../models/runtime/trace.js';
import { type RequiredTensor, requiredTensors } from '../../models/runtime/weights.js';

/** What a piece is cut from. */
export interface PieceSource {
  config: ModelConfig;
  /** The tensors that the config asks for, by name. */
  required: ReadonlyMap<string, RequiredTensor>;
  /** The value that the piece computes. */
  op: ModelTap;
  /** Tokens of the one sequence, from its start. */
  tokens: number;
  /**
   * Stored dtypes of weights by name. A weight without one is taken for F32: enough for those outside the
   * piece.
   */
  stored: ReadonlyMap<string, Dtype>;
  /** True for values that are given: the graph is cut at them. */
  isGiven(name: string): boolean;
  /**
   * Entries of the last axis that are known of a value, the first ones: of what is given the rest is
   * computed, of the op's own value it is left out. Default: all.
   *
   * @param shape of the whole value.
   */
  columns?(name: string, shape: Shape): number;
}

/**
 * Something that a piece reads: a value of the model, a weight, a state, token ids, or what follows from the
 * config.
 */
export interface Leaf {
  kind: 'tap' | 'weight' | 'history' | 'tokens' | 'constant';
  /** Of kind `weight`: its full name; of kind `tap`: the tap's. */
  name: string;
  /** Input of the graph. */
  input: string;
  dtype: Dtype;
  shape: Shape;
}

/** A graph whose only output is the op's value and whose leaves are all inputs, so that it needs no model. */
export interface Piece {
  graph: Graph;
  /** Nodes that the output needs, in execution order; leaves among them. */
  nodes: readonly Tensor[];
  leaves: readonly Leaf[];
  /**
   * Policy sites that were asked for while the segment was built, whether or not they matter to the piece.
   */
  sites: ReadonlySet<string>;
  /** Values that are computed on the way and not given, in execution order; the op's own is the last. */
  passed: readonly string[];
}

/**
 * The tap of this name in a run without a cache.
 * @throws `BAD_ARGUMENT` for a name that no such run computes: what only a cached run has (`conv_state`,
 * `k_cache`) is no result of one op.
 */
export function opTap(config: ModelConfig, name: string): ModelTap {
  const found = modelTaps(config).find((tap) => tap.name === name);
  if (found === undefined)
    throw unmet(
      'BAD_ARGUMENT',
      'repro',
      `a value that a run without a cache computes, such as ${architectureOf(config).family.examples.op}`,
      name,
      { tensor: name },
    );
  return found;
}

/** The tensors that a config asks for, by name. */
export function requiredByName(config: ModelConfig): ReadonlyMap<string, RequiredTensor> {
  return new Map(requiredTensors(config).map((tensor) => [tensor.name, tensor]));
}

/**
 * Builds the piece under a policy. Throws what the op's rules throw for settings that do not fit
 * (`DTYPE_UNSUPPORTED`, `SHAPE_MISMATCH`).
 */
export function buildPiece(source: PieceSource, setting: Setting): Piece {
  const { config, op, tokens } = source;
  const blocks = config.num_hidden_layers;
  const sites = new Set<string>();
  const asked: Setting = (site) => {
    sites.add(site);
    return setting(site);
  };
  const segment = traceModel(config).segments.get(op.name)!;
  const made = new Map<Tensor, string>();
  const graph = buildSegment(segment, { blocks, batch: 1, tokens, logits: 'all' }, (graph) =>
    pieceContext(graph, source, asked, segment, made),
  );
  for (const name of [...graph.outputs.keys()]) if (name !== op.name) graph.outputs.delete(name);
  graph.effects.length = 0; // states go nowhere
  const whole = graph.outputs.get(op.name)!;
  const axis = whole.shape.length - 1;
  const known = source.columns?.(op.name, whole.shape);
  if (known !== undefined && known < whole.shape[axis]!) {
    graph.outputs.delete(op.name);
    graph.output(op.name, cont(slice(whole, axis, 0, known)));
  }
  const nodes = needed(graph);
  const leaves = nodes.filter((node) => node.op === 'input').map(leafOf);
  const passed = nodes.flatMap((node) => made.get(node) ?? []);
  return { graph, nodes, leaves, sites, passed };
}

/** The nodes as plain data: equal for pieces that compute the same. */
export function describeNodes(nodes: readonly Tensor[]): unknown[] {
  const places = new Map(nodes.map((node, place) => [node, place]));
  return nodes.map(({ op, name, dtype, shape, params, strides, sources }) =>
    op === 'input'
      ? { op, name, dtype, shape }
      : { op, dtype, shape, strides, params, sources: sources.map((each) => places.get(each)) },
  );
}

function pieceContext(
  graph: Graph,
  { config, required, op, tokens, stored, isGiven, columns }: PieceSource,
  setting: Setting,
  segment: number,
  made: Map<Tensor, string>,
): ModelContext {
  const inputs = new Map<string, Tensor>();
  const leaf = (kind: Leaf['kind'], name: string, dtype: Dtype, shape: Shape): Tensor => {
    const input = `${kind}:${name}`;
    const tensor = inputs.get(input) ?? graph.input(input, dtype, shape);
    inputs.set(input, tensor);
    return tensor;
  };
  const given = (name: string, value: Tensor): Tensor => {
    const { dtype, shape } = value;
    const axis = shape.length - 1;
    const known = columns?.(name, shape) ?? shape[axis];
    if (known === shape[axis]) return leaf('tap', name, dtype, shape);
    const first = leaf('tap', name, dtype, shape.with(axis, known!));
    return concat(first, cont(slice(value, axis, known!, shape[axis]!)), axis);
  };
  return modelContexts({
    config,
    setting,
    sizes: { batch: 1, tokens, span: tokens, padded: false },
    hasHead: required.has('lm_head.weight') || stored.has('lm_head.weight'),
    taps: {
      wants: (name) => name === op.name,
      apply(name, value) {
        if (name !== op.name && isGiven(name)) return given(name, value);
        made.set(value, name);
        return value;
      },
    },
    leaf(_, { kind, name, block, dtype, shape, role }) {
      if (kind === 'weight') {
        const from = stored.get(name) ?? 'F32';
        const weight = leaf(
          'weight',
          name,
          matrixDtype({ name, shape, role: role! }, from, config, setting),
          shape,
        );
        const rounding = setting(parametersSite(name)) as 'stored' | 'BF16' | 'F16';
        const isRounded = rounding !== 'stored' && rounding !== from && role !== 'buffer';
        return isRounded && weight.dtype === 'F32' ? cast(cast(weight, rounding), 'F32') : weight;
      }
      if (kind === 'history') return leaf('history', `layers.${block}.${name}`, dtype, shape);
      if (kind === 'state') return leaf('tap', traceModel(config).before[segment]!.get(name)!, dtype, shape);
      return leaf('constant', name, dtype, shape);
    },
  })(graph, op.block);
}

function leafOf({ name: input, dtype, shape }: Tensor): Leaf {
  const colon = input.indexOf(':');
  if (colon < 0) return { kind: 'tokens', name: input, input, dtype, shape };
  return { kind: input.slice(0, colon) as Leaf['kind'], name: input.slice(colon + 1), input, dtype, shape };
}
