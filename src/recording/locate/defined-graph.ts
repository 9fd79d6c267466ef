/**
 * A recorded graph as another one defines it: the values stay those that were recorded, but what each node
 * is to compute from them - parameters, sources, strides, weights - is what the reference's graph says.
 */
import { dtypeKind } from '../../dump/dtypes.js';
import type { DumpGraph, GraphTensor } from '../../dump/graph-file.js';
import { parameterDifferences } from '../op-words.js';
import { VIEW_OPS } from '../quiet-ops.js';
import { alignNodes } from './align-graphs.js';

/** A graph and how it differs from its reference. */
export interface DefinedGraph {
  /** By the ids of the recording. */
  tensors: readonly GraphTensor[];
  /**
   * What is other in a tensor than in the reference, in words; of a node that computes also in the views that
   * it reads.
   */
  differences: ReadonlyMap<number, readonly string[]>;
  /** The reference's tensor. */
  partners: ReadonlyMap<number, GraphTensor>;
  /** Nodes without partner, of either side. */
  alone: { tested: GraphTensor[]; reference: GraphTensor[] };
}

/** The graph as it is. */
export function ownDefinition({ tensors }: DumpGraph): DefinedGraph {
  return {
    tensors,
    differences: new Map(),
    partners: new Map(tensors.map((tensor) => [tensor.id, tensor])),
    alone: { tested: [], reference: [] },
  };
}

/**
 * @param tested whose values are judged. @param reference which says what is to be computed.
 * @param weights whose weights are at hand; of the tested run they are taken as they are stored.
 */
export function defineGraph(
  tested: DumpGraph,
  reference: DumpGraph,
  weights: 'tested' | 'reference',
): DefinedGraph {
  const definition = new Definition(tested.tensors, reference.tensors, weights);
  for (const [g, graph] of tested.graphs.entries())
    definition.pair(graph.nodes, reference.graphs[g]?.nodes ?? []);
  return definition.result();
}

class Definition {
  readonly #tested: readonly GraphTensor[];
  readonly #reference: readonly GraphTensor[];
  /** Reference's id by ours, and back. */
  readonly #partner = new Map<number, number>();
  readonly #back = new Map<number, number>();
  readonly #nodes: number[] = [];
  readonly #weights: 'tested' | 'reference';
  readonly #alone: DefinedGraph['alone'] = { tested: [], reference: [] };

  constructor(
    tested: readonly GraphTensor[],
    reference: readonly GraphTensor[],
    weights: 'tested' | 'reference',
  ) {
    this.#weights = weights;
    this.#tested = tested;
    this.#reference = reference;
  }

  pair(own: readonly number[], other: readonly number[]): void {
    const [a, b] = [own.map((id) => this.#tested[id]!), other.map((id) => this.#reference[id]!)];
    const nameOfWeight = (side: 'tested' | 'reference', id: number) =>
      (side === 'tested' ? this.#tested : this.#reference)[id]!.weight;
    for (const [k, at] of alignNodes(a, b, nameOfWeight).entries())
      if (at === undefined) this.#alone.tested.push(a[k]!);
      else this.#join(a[k]!.id, b[at]!.id);
    this.#alone.reference.push(...b.filter(({ id }) => !this.#back.has(id)));
    this.#nodes.push(...own);
    // Leaves are paired as sources of paired nodes.
    for (const { id, src } of a) {
      const partner = this.#partner.get(id);
      if (partner === undefined) continue;
      for (const [k, source] of src.entries()) {
        const theirs = this.#reference[partner]!.src[k];
        if (source === null || theirs == null || this.#partner.has(source) || this.#back.has(theirs))
          continue;
        const [x, y] = [this.#tested[source]!, this.#reference[theirs]!];
        if (x.op === 'NONE' && y.op === 'NONE' && (x.weight === undefined) === (y.weight === undefined))
          this.#join(source, theirs);
      }
    }
    for (const { id, viewSrc } of a) {
      const partner = this.#partner.get(id);
      const theirs = partner === undefined ? undefined : this.#reference[partner]!.viewSrc;
      if (viewSrc != null && theirs != null && !this.#partner.has(viewSrc) && !this.#back.has(theirs))
        this.#join(viewSrc, theirs);
    }
  }

  result(): DefinedGraph {
    const differences = new Map<number, string[]>();
    const tensors = this.#tested.map((own) => {
      const partner = this.#partner.get(own.id);
      if (partner === undefined) return own;
      const found: string[] = [];
      const defined = this.#defined(own, this.#reference[partner]!, found);
      if (found.length > 0) differences.set(own.id, found);
      return defined;
    });
    // A view computes nothing: what is other in it is so in the nodes that read it.
    const all = new Map(differences);
    for (const id of this.#nodes) {
      if (this.#tested[id]!.viewSrc != null && this.#tested[id]!.op !== 'SET_ROWS') continue;
      const words = new Set(differences.get(id) ?? []);
      for (const source of this.#tested[id]!.src)
        for (const view of this.#viewsFrom(source))
          for (const each of differences.get(view) ?? []) words.add(each);
      if (words.size > 0) all.set(id, [...words]);
    }
    const partners = new Map([...this.#partner].map(([id, other]) => [id, this.#reference[other]!]));
    return { tensors, differences: all, partners, alone: this.#alone };
  }

  /** A view, the view that it is taken of, and so on. */
  #viewsFrom(start: number | null): number[] {
    const views: number[] = [];
    for (
      let id = start;
      id != null && VIEW_OPS.has(this.#tested[id]!.op);
      id = this.#tested[id]!.src[0] ?? null
    )
      views.push(id);
    return views;
  }

  /** Whether a tensor of the reference, or what it is a view of, has no partner. */
  #isAlone(id: number): boolean {
    const { op, viewSrc } = this.#reference[id]!;
    if (viewSrc != null && !this.#back.has(viewSrc)) return this.#isAlone(viewSrc);
    return op !== 'NONE' && !this.#back.has(viewSrc ?? id);
  }

  #join(own: number, other: number): void {
    this.#partner.set(own, other);
    this.#back.set(other, own);
  }

  #defined(own: GraphTensor, other: GraphTensor, differences: string[]): GraphTensor {
    if (own.op === 'NONE' && own.viewSrc == null) {
      if (other.weight === undefined || this.#weights === 'tested') return own;
      if (own.type !== other.type) differences.push(`weights in ${own.type} instead of ${other.type}`);
      return { ...other, id: own.id, src: [] };
    }
    if (own.type !== other.type) differences.push(`stored in ${own.type} instead of ${other.type}`);
    if (own.ne.join() !== other.ne.join()) {
      differences.push(`${own.ne.join(' x ')} elements instead of ${other.ne.join(' x ')}`);
      return own;
    }
    differences.push(...parameterDifferences(own.op, own.params, other.params));
    const src = own.src.map((source, k) => {
      const theirs = other.src[k];
      const meant = theirs == null ? undefined : this.#back.get(theirs);
      if (source === null || theirs == null || meant === source) return source;
      if (meant === undefined) {
        if (this.#isAlone(theirs))
          differences.push(`lacks ${this.#reference[theirs]!.op} ${this.#reference[theirs]!.name} before it`);
        return source;
      }
      // Sources that are no counterparts after all.
      const [ours, right] = [this.#tested[meant]!, this.#reference[theirs]!];
      if (ours.ne.join() !== right.ne.join() || dtypeKind(ours.type) !== dtypeKind(right.type)) return source;
      differences.push(`reads ${this.#tested[source]!.name} instead of ${this.#tested[meant]!.name}`);
      return meant;
    });
    const defined = { ...own, params: other.params, flags: other.flags, src };
    if (own.viewSrc == null || own.type !== other.type) return defined;
    const meant = other.viewSrc == null ? undefined : this.#back.get(other.viewSrc);
    if (meant !== undefined && meant !== own.viewSrc)
      differences.push(
        `a view of ${this.#tested[own.viewSrc]!.name} instead of ${this.#tested[meant]!.name}`,
      );
    if ((own.viewOffs ?? 0) !== (other.viewOffs ?? 0))
      differences.push(`a view from byte ${own.viewOffs ?? 0} instead of ${other.viewOffs ?? 0}`);
    if (own.nb.join() !== other.nb.join())
      differences.push(`strides ${own.nb.join(', ')} instead of ${other.nb.join(', ')}`);
    return { ...defined, viewSrc: meant ?? own.viewSrc, viewOffs: other.viewOffs ?? 0, nb: other.nb };
  }
}
