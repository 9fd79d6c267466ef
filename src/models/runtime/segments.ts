import { Graph } from '../../graph/graph.js';
import { cont, reshape, slice } from '../../graph/ops-layout.js';
import type { Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../architectures.js';
import type { ModelContext } from './module.js';

/** Output name of the logits in the head's graph, beside the tap `lm_head`. */
export const LOGITS = '#logits';

/** What a segment is built for. */
export interface SegmentSizes {
  /** Blocks of the model, L. */
  blocks: number;
  batch: number;
  /** Tokens of each sequence. */
  tokens: number;
  /** Rows that the head computes. */
  logits: 'all' | 'last';
}

/**
 * Builds the graph of one segment: 0 the embedding (input `tokens` I32 [N]), 1 … L the blocks, L + 1 the
 * head, whose logits are the output {@link LOGITS}.
 *
 * @param context what the model file reads; `block` is null for embedding and head.
 */
export function buildSegment(
  segment: number,
  { blocks, batch, tokens, logits }: SegmentSizes,
  context: (graph: Graph, block: number | null) => ModelContext,
): Graph {
  if (segment === 0) {
    const graph = new Graph('embedding');
    const own = context(graph, null);
    architectureOf(own.config).embedding(own, graph.input('tokens', 'I32', [batch * tokens]));
    return graph;
  }
  if (segment <= blocks) {
    const graph = new Graph(`layers.${segment - 1}`);
    const own = context(graph, segment - 1);
    architectureOf(own.config).block(own, segment - 1);
    return graph;
  }
  const graph = new Graph('head');
  const last = (x: Tensor) => {
    const width = x.shape[1]!;
    return reshape(cont(slice(reshape(x, [batch, tokens, width]), 1, tokens - 1, tokens)), [batch, width]);
  };
  const own = context(graph, null);
  graph.output(LOGITS, architectureOf(own.config).head(own, logits === 'all' ? (x) => x : last));
  return graph;
}
