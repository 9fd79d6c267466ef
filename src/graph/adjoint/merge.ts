import type { Graph } from '../graph.js';
import type { OpName } from '../ops.js';
import { isContiguous, type Tensor } from '../tensor.js';

/**
 * Puts nodes of several graphs into one; what is computed the same way from the same values is computed once.
 */
export class GraphMerger {
  readonly graph: Graph;
  readonly #known = new Map<string, Tensor>();

  constructor(graph: Graph) {
    this.graph = graph;
  }

  /**
   * The tensors of a graph in this one, by those of the graph; nodes that write into resident memory are left
   * out.
   * @param leaf what an input is here, asked in the order of the graph's tensors.
   * @param merged told of each tensor as soon as it is there.
   */
  merge(
    source: Graph,
    leaf: (input: Tensor) => Tensor,
    merged: (tensor: Tensor, here: Tensor) => void = () => {},
  ): ReadonlyMap<Tensor, Tensor> {
    const here = new Map<Tensor, Tensor>();
    const left = new Set<Tensor>(source.effects);
    for (const tensor of source.tensors) {
      if (left.has(tensor)) continue;
      const found =
        tensor.resident !== undefined
          ? this.graph.resident(tensor.resident)
          : tensor.op === 'input'
            ? leaf(tensor)
            : this.node(
                tensor,
                tensor.sources.map((each) => here.get(each)!),
              );
      here.set(tensor, found);
      merged(tensor, found);
    }
    return here;
  }

  /** A node as another graph has it, of sources of this one in its layout. */
  node(node: Tensor, sources: readonly Tensor[]): Tensor {
    const { op, dtype, shape, strides, params } = node;
    const emit = () => this.graph.emit({ op: op as OpName, sources, params, dtype, shape, strides });
    // ggml clamps in place: the copy that it clamps belongs to nobody else.
    const isCopy = op === 'cont' && isContiguous(sources[0]!);
    if (isCopy) return emit();
    const read = op === 'clamp' ? sources[0]!.sources : sources;
    const key = [op, dtype, shape, strides, params, read.map(({ id }) => id)].join('|');
    const known = this.#known.get(key) ?? emit();
    this.#known.set(key, known);
    return known;
  }
}
