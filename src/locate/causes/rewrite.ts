import { Graph } from '../../graph/graph.js';
import type { OpName } from '../../graph/ops.js';
import { cont } from '../../graph/ops-layout.js';
import { sameShape } from '../../graph/shape.js';
import type { Tensor } from '../../graph/tensor.js';
import type { Piece } from '../repro/piece.js';
import type { NodeEdit } from './alternative.js';

/**
 * The graph of a piece with some nodes replaced. What is put in must have the shape of what it replaces: the
 * nodes after it are taken over as they are.
 * @returns undefined where a replacement does not fit.
 */
export function rewritten(piece: Piece, name: string, edit: NodeEdit): Graph | undefined {
  const graph = new Graph(piece.graph.label);
  const made = new Map<Tensor, Tensor>();
  for (const node of piece.nodes) {
    if (node.op === 'input') {
      made.set(node, graph.input(node.name, node.dtype, node.shape));
      continue;
    }
    const sources = node.sources.map((source) => made.get(source)!);
    const other = edit(node, sources);
    if (other === undefined) {
      const { op, params, dtype, shape, strides } = node;
      made.set(node, graph.emit({ op: op as OpName, sources, params, dtype, shape, strides }));
      continue;
    }
    const packed = cont(other);
    if (!sameShape(packed.shape, node.shape) || packed.dtype !== node.dtype) return undefined;
    if (packed.strides.join() !== node.strides.join()) return undefined;
    made.set(node, packed);
  }
  graph.output(name, made.get(piece.graph.outputs.get(name)!)!);
  return graph;
}
