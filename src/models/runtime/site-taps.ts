/**
 * Which values a policy's choice changes, read off the model file: its graphs are built under every choice,
 * cut at every tap, and compared.
 */
import type { Graph } from '../../graph/graph.js';
import { SITE_KINDS, type SiteKind, siteKind } from '../../graph/policy.js';
import type { ResidentTensor, Tensor } from '../../graph/tensor.js';
import type { ModelConfig } from './architecture.js';
import { modelContexts } from './context.js';
import { buildSegment, LOGITS } from './segments.js';
import { traceModel } from './trace.js';

const TOKENS = 2;
/** What these choose shows in no graph: weights are loaded so. */
const OF_WEIGHTS: ReadonlySet<SiteKind> = new Set(['weight', 'parameters']);

const known = new WeakMap<ModelConfig, ReadonlyMap<string, readonly string[]>>();

/**
 * By site, the taps whose own op the choice changes, in execution order. Choices that are made as weights are
 * loaded are absent. Needs no device.
 */
export function siteTaps(config: ModelConfig): ReadonlyMap<string, readonly string[]> {
  const found = known.get(config) ?? compareAll(config);
  known.set(config, found);
  return found;
}

function compareAll(config: ModelConfig): ReadonlyMap<string, readonly string[]> {
  const defaults = new Map<number, ReadonlyMap<string, number>>();
  const result = new Map<string, readonly string[]>();
  for (const { name, kind, values, segments } of traceModel(config).sites) {
    if (OF_WEIGHTS.has(kind)) continue;
    const changed = new Set<string>();
    for (const segment of segments) {
      const plain = defaults.get(segment) ?? tapPieces(config, segment);
      defaults.set(segment, plain);
      for (const value of values.slice(1))
        for (const [tap, piece] of tapPieces(config, segment, name, value))
          if (plain.get(tap) !== piece) changed.add(tap);
    }
    result.set(name, [...changed]);
  }
  return result;
}

/**
 * What each tap of a segment is computed by, as a number that is equal for equal computations; one site is
 * set to another value.
 */
function tapPieces(config: ModelConfig, segment: number, site?: string, value?: string): Map<string, number> {
  const memory = new Map<string, ResidentTensor>();
  const context = modelContexts({
    config,
    setting: (name) => (name === site ? value! : SITE_KINDS[siteKind(name)][0]),
    sizes: { batch: 1, tokens: TOKENS, span: TOKENS, padded: false },
    hasHead: !config.tie_word_embeddings,
    taps: {
      wants: () => true,
      apply: (name, tensor) => tensor.graph.input(`tap:${name}`, tensor.dtype, tensor.shape),
    },
    leaf(graph, { kind, name, dtype, shape }) {
      const key = `${kind}:${name}`;
      const leaf = memory.get(key) ?? ({ name: key, dtype, shape } as ResidentTensor);
      memory.set(key, leaf);
      return graph.resident(leaf);
    },
  });
  const blocks = config.num_hidden_layers;
  const graph: Graph = buildSegment(segment, { blocks, batch: 1, tokens: TOKENS, logits: 'all' }, context);
  const numbers = new Map<Tensor, number>();
  const number = (tensor: Tensor): number => {
    const { op, name, dtype, shape, strides, params, sources } = tensor;
    const own = op === 'input' || op === 'resident' ? name : params;
    const found = numbers.get(tensor) ?? numberOf([op, own, dtype, shape, strides, sources.map(number)]);
    numbers.set(tensor, found);
    return found;
  };
  const taps = [...graph.outputs].filter(([name]) => name !== LOGITS);
  return new Map(taps.map(([name, tensor]) => [name, number(tensor)]));
}

const numbered = new Map<string, number>();

/** The same number for nodes that compute the same, in whatever graph. */
function numberOf(node: unknown): number {
  const text = JSON.stringify(node);
  const number = numbered.get(text) ?? numbered.size;
  numbered.set(text, number);
  return number;
}
