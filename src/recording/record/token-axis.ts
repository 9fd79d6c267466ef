/**
 * Which axis of each value counts tokens: followed from the graph's inputs through the ops, never guessed
 * from a size.
 */
import type { Four, RecordedGraph, RecordedTensor } from './recorded-graph.js';

/** Inputs that have one entry a token, their first axis; releases of libllama differ in the names. */
const TOKEN_INPUTS: ReadonlySet<string> = new Set(['inp_tokens', 'out_ids', 'inp_out_ids']);

/** Results have the axes of their first source. */
const LIKE_FIRST: ReadonlySet<string> = new Set(
  (
    'ADD ADD_ID ADD1 SUB MUL DIV SQR SQRT LOG SIN COS SUM_ROWS CUMSUM MEAN ARGSORT TOP_K NORM RMS_NORM GROUP_NORM ' +
    'L2_NORM SCALE SOFT_MAX ROPE CLAMP LEAKY_RELU UNARY GLU DUP REPEAT DIAG_MASK_INF'
  ).split(' '),
);

/**
 * The token axis (0 to 3, fastest first) of every tensor of a graph that has one. With a single token it may
 * be another axis of size 1.
 * @param known of tensors of which the program says it. Default none.
 */
export function tokenAxes(
  graph: RecordedGraph,
  tensors: readonly RecordedTensor[],
  known: ReadonlyMap<number, number> = new Map(),
): ReadonlyMap<number, number> {
  const axes = new Map(known);
  for (const id of graph.leaves)
    if (tensors[id]!.kind === 'input' && TOKEN_INPUTS.has(tensors[id]!.name)) axes.set(id, 0);
  for (const id of graph.leaves)
    if (tensors[id]!.kind === 'input' && tensors[id]!.name === 'inp_embd') axes.set(id, 1);
  for (const id of graph.nodes) {
    if (known.has(id)) continue;
    const axis = axisOf(tensors[id]!, tensors, axes);
    if (axis !== undefined) axes.set(id, axis);
  }
  return axes;
}

function axisOf(
  tensor: RecordedTensor,
  tensors: readonly RecordedTensor[],
  axes: ReadonlyMap<number, number>,
): number | undefined {
  const source = (k: number) => (tensor.src[k] == null ? undefined : tensors[tensor.src[k]!]!);
  const axis = (k: number) => (tensor.src[k] == null ? undefined : axes.get(tensor.src[k]!));
  switch (tensor.op) {
    case 'GET_ROWS': {
      const rows = axis(1);
      return rows === undefined ? undefined : rows + 1;
    }
    case 'MUL_MAT': {
      const right = axis(1);
      if (right !== undefined && right > 0) return right;
      return axis(0) === 1 ? 0 : undefined;
    }
    case 'MUL_MAT_ID': {
      const right = axis(1);
      return right === 2 ? 2 : axis(2) === 1 ? 2 : undefined;
    }
    case 'FLASH_ATTN_EXT':
      return axis(0) === 1 ? 2 : undefined;
    case 'SET_ROWS': // of what it writes
      return axis(0);
    case 'CONCAT': {
      const first = axis(0);
      return first !== undefined && source(0)!.ne[first] === tensor.ne[first] ? first : undefined;
    }
    case 'SSM_CONV':
      return source(0)!.ne[2] === tensor.ne[2] ? 1 : undefined;
    case 'CONT': // it may reshape, too
    case 'RESHAPE':
      return reshaped(source(0)!.ne, tensor.ne, axis(0));
    case 'VIEW':
    case 'PERMUTE':
    case 'TRANSPOSE':
      return byStride(source(0)!, tensor, axis(0));
    default: {
      if (!LIKE_FIRST.has(tensor.op)) return undefined;
      const first = axis(0);
      return first !== undefined && source(0)!.ne[first] === tensor.ne[first] ? first : undefined;
    }
  }
}

/** The axis of the same size with as many elements below it. */
function reshaped(from: Four, to: Four, axis: number | undefined): number | undefined {
  if (axis === undefined) return undefined;
  const below = (ne: Four, end: number) => ne.slice(0, end).reduce((product, size) => product * size, 1);
  const wanted = below(from, axis);
  for (const candidate of [0, 1, 2, 3])
    if (to[candidate] === from[axis] && below(to, candidate) === wanted) return candidate;
  return undefined;
}

/** The axis of the same size whose entries lie as far apart. */
function byStride(from: RecordedTensor, to: RecordedTensor, axis: number | undefined): number | undefined {
  if (axis === undefined) return undefined;
  if (to.nb[axis] === from.nb[axis] && to.ne[axis] === from.ne[axis]) return axis;
  const found = [0, 1, 2, 3].filter((k) => to.nb[k] === from.nb[axis] && to.ne[k] === from.ne[axis]);
  return found.length === 1 ? found[0] : undefined;
}
