/** One node of a recording cut out as a graph of its own: with what it reads, as it stands when it runs. */
import { blockElements, tapBlockBytes } from '../../dump/dtypes.js';
import { type GraphTensor, ownerOf } from '../../dump/graph-file.js';
import { type Four, type RecordedTensor, valueSizes } from '../record/recorded-graph.js';
import type { ReadyNode } from '../replay/node-walk.js';
import { denseStrides } from '../replay/strided.js';

/** A graph of one node. */
export interface Excerpt {
  tensors: RecordedTensor[];
  leaves: number[];
  /** Views, and the node at the end. */
  nodes: number[];
  /** Bytes of the leaves and of the node, by id; elements in ggml's order. */
  bytes: Map<number, { ne: Four; bytes: Uint8Array }>;
}

/** @param tensors of the recording; @param ready before it has run. */
export function excerptOf(ready: ReadyNode, tensors: readonly GraphTensor[]): Excerpt {
  const { node, prepared, recorded } = ready;
  const made: Excerpt = { tensors: [], leaves: [], nodes: [], bytes: new Map() };
  const leaf = (tensor: Like, kind: 'input' | 'state', bytes: Uint8Array): number => {
    const isZero = kind === 'state' && bytes.every((byte) => byte === 0);
    const id = add(made.tensors, { ...tensor, nb: dense(tensor) }, { kind, op: 'NONE', isZero });
    made.leaves.push(id);
    made.bytes.set(id, { ne: tensor.ne, bytes });
    return id;
  };
  const view = (tensor: Like, of: number, viewOffs: number): number => {
    const id = add(made.tensors, tensor, { kind: 'view', op: 'VIEW', src: [of], viewSrc: of, viewOffs });
    made.nodes.push(id);
    return id;
  };
  const memory = ownerOf(node, tensors);
  const owner = memory.id === node.id ? undefined : memory;
  const result = owner && leaf(named(owner), 'state', prepared.roots[0]!);
  const known = new Map<number, number>();
  const src = node.src.map((id, k): number | null => {
    if (id === null) return null;
    const before = known.get(id);
    if (before !== undefined) return before;
    const source = named(tensors[id]!);
    const { root, offset } = prepared.tensors[prepared.src[k]!]!;
    let place: number;
    if (root === 0) place = tensors[id]!.id === owner!.id ? result! : view(source, result!, offset);
    else if (dense(source).join() === source.nb.join()) place = leaf(source, 'input', prepared.roots[root]!);
    else place = view(source, leaf(flat(source, prepared.roots[root]!), 'input', prepared.roots[root]!), 0);
    known.set(id, place);
    return place;
  });
  const { op, params, flags, viewOffs = 0 } = node;
  const target = result === undefined ? {} : { viewSrc: result, viewOffs };
  const id = add(made.tensors, named(node), { kind: 'node', op, params, flags, src, ...target });
  made.nodes.push(id);
  made.bytes.set(id, { ne: valueSizes(node, tensors), bytes: recorded });
  return made;
}

/** What leaves, views and nodes have alike. */
type Like = Pick<RecordedTensor, 'name' | 'type' | 'ne' | 'nb'>;

function add(
  tensors: RecordedTensor[],
  { name, type, ne, nb }: Like,
  rest: Pick<RecordedTensor, 'kind' | 'op'> & Partial<RecordedTensor>,
): number {
  const id = tensors.length;
  tensors.push({
    name,
    type,
    ne,
    nb,
    params: '',
    flags: 0,
    src: [],
    buffer: 'CPU',
    isZero: false,
    ...rest,
    id,
  });
  return id;
}

/** A value is called by its tap, a weight by its name in the file. */
function named({ name, tap, weight, type, ne, nb }: GraphTensor): Like {
  return { name: tap ?? weight ?? name, type, ne, nb };
}

function dense({ type, ne }: Pick<Like, 'type' | 'ne'>): Four {
  return denseStrides([ne[0] / blockElements(type), ne[1], ne[2], ne[3]], tapBlockBytes(type));
}

/** The memory under a view with gaps, as one row. */
function flat({ name, type }: Like, { byteLength }: Uint8Array): Like {
  const ne: Four = [(byteLength / tapBlockBytes(type)) * blockElements(type), 1, 1, 1];
  return { name: `${name} (memory)`, type, ne, nb: dense({ type, ne }) };
}

/** Bytes that all leaves hold. */
export function leafBytes({ leaves, bytes }: Excerpt): number {
  return leaves.reduce((sum, id) => sum + bytes.get(id)!.bytes.byteLength, 0);
}
