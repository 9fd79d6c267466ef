/** One node of a recording, made ready to run by itself: its memory, and the tensors in it. */
import { tapBlockBytes, tapType } from '../../dump/dtypes.js';
import type { GraphTensor } from '../../dump/graph-file.js';
import { native } from '../../native.js';
import type { NativeReplayTensor } from '../../native-llama.js';
import { type Four, valueSizes } from '../record/recorded-graph.js';
import { lacking, type ReplayValues } from './replay-values.js';
import { packed, rowStarts, type Strided, spanOf, unpack } from './strided.js';

const PARAMS_BYTES = 64;
/** Where `n_dims` stands in the parameters of a `ROPE`. */
const ROPE_DIMENSIONS = 4;

/** A tensor in memory that has been given. */
export interface Placed extends Strided, NativeReplayTensor {}

/** A node ready to run. The first root and the first tensor are those of its result. */
export interface Prepared {
  roots: Uint8Array[];
  tensors: Placed[];
  src: (number | null)[];
}

/** Which elements a node writes, in the memory that its result lies in. */
export interface Written {
  ne: Four;
  read(memory: Uint8Array, at: Strided): Uint8Array;
  write(memory: Uint8Array, at: Strided, bytes: Uint8Array): void;
}

/** Own memory for the result first, then one for each source that does not lie in it. */
export async function prepareNode(
  node: GraphTensor,
  step: number,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
): Promise<Prepared> {
  const owner = values.owner(node);
  const target = owner.id === node.id ? values.blank(node) : await values.memory(owner, step);
  const offset = node.viewOffs ?? 0;
  checkWithin(node, offset + spanOf({ ...node, dtype: node.type }), target);
  // A copy: the memory itself takes what was recorded.
  const roots: Uint8Array[] = [target.slice()];
  const all: Placed[] = [placed({ ...node, dtype: node.type }, 0, offset)];
  const src: (number | null)[] = [];
  for (const id of node.src) {
    const source = id === null ? undefined : tensors[id]!;
    if (source === undefined) {
      src.push(null);
      continue;
    }
    const at = { ...source, dtype: source.type };
    const start = source.viewSrc == null ? 0 : (source.viewOffs ?? 0);
    src.push(all.length);
    if (values.owner(source).id === owner.id) all.push(placed(at, 0, start));
    else {
      const memory = await values.memory(source, step);
      const end = start + spanOf(at);
      checkWithin(source, end, memory);
      all.push(placed(at, roots.length, 0));
      roots.push(memory.subarray(start, end));
    }
  }
  // A cast's second source is its own result.
  if (node.op === 'CPY' && src.length === 1) src.push(0);
  return { roots, tensors: all, src };
}

export function placed({ dtype, ne, nb }: Omit<Strided, 'offset'>, root: number, offset: number): Placed {
  return { root, offset, dtype, type: tapType(dtype), ne, nb };
}

/** Runs a node, which puts its result into the first root's memory, or that of the tensor it was given. */
export function runNode(
  backend: Parameters<ReturnType<typeof native>['replayNode']>[0],
  node: GraphTensor,
  { roots, tensors, src }: Prepared,
): void {
  const params = Buffer.from(node.params.padEnd(2 * PARAMS_BYTES, '0'), 'hex');
  const dimensions = params.readInt32LE(ROPE_DIMENSIONS);
  if (node.op.startsWith('ROPE') && dimensions < 2)
    throw lacking('at least 2 dimensions to rotate, without which ggml never ends', node, `${dimensions}`);
  native().replayNode(backend, roots, tensors, {
    tensor: 0,
    op: node.op,
    params: Uint8Array.from(params),
    flags: node.flags,
    src,
  });
}

/** What a node writes: all of its result, or of a cache the rows that a `SET_ROWS` names. */
export async function writtenBy(
  node: GraphTensor,
  step: number,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
): Promise<Written> {
  const ne = valueSizes(node, tensors);
  const rows = node.op === 'SET_ROWS' ? await rowsOf(node, step, values, tensors) : undefined;
  if (ne[0] !== node.ne[0]) throw lacking(`rows of ${node.ne[0]}`, node, `${ne[0]}`);
  const starts = (memory: Uint8Array, at: Strided) => {
    const found = rowStarts({ ...at, ne }, rows);
    const last = found.reduce((most, start) => Math.max(most, start), 0);
    checkWithin(node, last + spanOf({ ...at, ne: [ne[0], 1, 1, 1] }), memory);
    return found;
  };
  return {
    ne,
    read: (memory, at) => packed(memory, at, starts(memory, at)),
    write: (memory, at, bytes) => unpack(memory, at, bytes, starts(memory, at)),
  };
}

/** The row of the cache to which a `SET_ROWS` writes one of its source. */
async function rowsOf(
  node: GraphTensor,
  step: number,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
): Promise<(j: number, k: number, l: number) => number> {
  const index = node.src[1] == null ? undefined : tensors[node.src[1]]!;
  if (index?.type !== 'I32' && index?.type !== 'I64')
    throw lacking('row numbers in I32 or I64', node, index?.type);
  const memory = await values.memory(index, step);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const offset = index.viewOffs ?? 0;
  const [n0, n1, n2] = index.ne;
  const size = tapBlockBytes(index.type);
  checkWithin(index, offset + n0 * n1 * n2 * size, memory);
  return (j, k, l) => {
    const at = offset + size * (((l % n2) * n1 + (k % n1)) * n0 + j);
    const row = size === 8 ? Number(view.getBigInt64(at, true)) : view.getInt32(at, true);
    if (!(row >= 0 && row < node.ne[1])) throw lacking(`rows below ${node.ne[1]}`, node, String(row));
    return row;
  };
}

function checkWithin(tensor: GraphTensor, end: number, { byteLength }: Uint8Array): void {
  if (end > byteLength) throw lacking(`memory of ${end} bytes`, tensor, `${byteLength}`);
}
