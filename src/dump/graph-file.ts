/**
 * `graph.json` of a dump that is a recording: every node of the graphs that ran, its op, parameters and
 * sources (`docs/dump-format.md`).
 */

import { FieldCheck } from '../field-check.js';
import { blockElements, TAP_DTYPES, type TapDtype } from './dtypes.js';
import { GRAPH_FILE } from './format.js';
import { readJsonFile, writeJsonFile } from './json-file.js';

/** A tensor of a recorded graph: a node, or a leaf (a weight, an input, a cache). */
export interface GraphTensor {
  /** Its index in {@link DumpGraph.tensors}. */
  id: number;
  name: string;
  /** ggml's name of the op, e.g. `MUL_MAT`; `NONE` for a leaf. */
  op: string;
  /** ggml's type by name, e.g. `Q4_K`. */
  type: TapDtype;
  /** Sizes, fastest axis first, as ggml has them. */
  ne: readonly [number, number, number, number];
  /** Strides in bytes, in the same order. */
  nb: readonly [number, number, number, number];
  /** `op_params` in lower-case hex, zero bytes at its end cut. */
  params: string;
  /** `GGML_TENSOR_FLAG_*`. */
  flags: number;
  /** Sources by id; null where a place is left empty. */
  src: readonly (number | null)[];
  /** The tensor whose memory this one shares, and where in it: bytes. */
  viewSrc?: number | null;
  viewOffs?: number;
  /** Buffer type, e.g. `CPU`. */
  buffer?: string;
  /** The tap of this dump that holds its value; of a `SET_ROWS`, the rows that it wrote. */
  tap?: string;
  /** ggml's axes (0 is the fastest) in the order of the tap's; those left out have size 1. */
  axes?: readonly number[];
  /**
   * A leaf that keeps its value from graph to graph, such as a cache: zeros at first, or what its tap holds.
   */
  state?: 'zero' | 'tap';
  /** The weight that it is, by its name in the model's file. */
  weight?: string;
}

/** The tensor whose memory another one lies in: itself, but for views and what is written in place. */
export function ownerOf(tensor: GraphTensor, tensors: readonly GraphTensor[]): GraphTensor {
  return tensor.viewSrc == null ? tensor : tensors[tensor.viewSrc]!;
}

/** Graphs of a recording, in the order in which they ran. */
export interface DumpGraph {
  version: 1;
  tensors: readonly GraphTensor[];
  /** Nodes in the order in which they are computed. */
  graphs: readonly { step: number; nodes: readonly number[] }[];
}

/** Types of taps that ggml has. */
const GGML_TYPES = TAP_DTYPES.filter((dtype) => dtype !== 'U8' && dtype !== 'BOOL');
const GGML_TYPE_NAMES: ReadonlySet<string> = new Set(GGML_TYPES);
/** ggml has 64 bytes of parameters. */
const PARAMS = /^(?:[0-9a-f]{2}){0,64}$/;
/** ggml has five flags. */
const MAX_FLAGS = 2 ** 30;
const OP = 'openGraph';

/** Writes the file, whole or not at all. Throws `BAD_ARGUMENT` naming the field at fault, `IO`. */
export async function writeGraph(dir: string, graph: DumpGraph, taps: ReadonlySet<string>): Promise<void> {
  checkGraph(
    graph,
    taps,
    new FieldCheck({ code: 'BAD_ARGUMENT', op: 'writeGraph', where: dir, tensor: GRAPH_FILE }),
  );
  await writeJsonFile(dir, GRAPH_FILE, JSON.stringify(graph), { op: 'writeGraph', what: 'graph' });
}

/** Reads and checks the file. Throws `IO` where it cannot be read, `BAD_DUMP` naming the field at fault. */
export async function readGraph(dir: string, taps: ReadonlySet<string>): Promise<DumpGraph> {
  const value = await readJsonFile(dir, GRAPH_FILE, OP);
  checkGraph(
    value,
    taps,
    new FieldCheck({ code: 'BAD_DUMP', op: OP, where: `${dir}/${GRAPH_FILE}`, tensor: GRAPH_FILE }),
  );
  return value;
}

/**
 * Checks that ids are indices, that sources exist and come before what reads them, and that nothing goes in a
 * circle.
 */
function checkGraph(
  value: unknown,
  taps: ReadonlySet<string>,
  check: FieldCheck,
): asserts value is DumpGraph {
  const graph = check.object(value, 'the graph');
  check.equal(graph.version, [1], 'version');
  const tensors = check.array(graph.tensors, 'tensors');
  for (const [k, tensor] of tensors.entries())
    if (!isSound(tensor as GraphTensor, k, tensors.length, taps))
      checkTensor(tensor, k, tensors.length, taps, check);
  const known = tensors as GraphTensor[];
  checkCircles(known, check);
  for (const { id, viewSrc = null } of known)
    if (viewSrc !== null && known[viewSrc]!.viewSrc != null)
      check.fail(`tensors[${id}].viewSrc`, 'a tensor with memory of its own', viewSrc);
  for (const [g, entry] of check.array(graph.graphs, 'graphs').entries()) {
    const { step, nodes } = check.object(entry, `graphs[${g}]`);
    check.integer(step, 0, `graphs[${g}].step`);
    checkOrder(check.array(nodes, `graphs[${g}].nodes`), known, `graphs[${g}].nodes`, check);
  }
}

/**
 * Whether {@link checkTensor} surely has nothing to say. It names every field that it looks at, which took
 * most of the time of a recording of many steps.
 */
function isSound(tensor: GraphTensor, k: number, count: number, taps: ReadonlySet<string>): boolean {
  if (tensor === null || typeof tensor !== 'object' || tensor.id !== k) return false;
  const { name, op, type, params, ne, nb, flags, src } = tensor;
  const { viewSrc = null, viewOffs = 0, buffer = '', weight = '' } = tensor;
  const areTexts = [name, op, params, buffer, weight].every((each) => typeof each === 'string');
  if (!areTexts || !GGML_TYPE_NAMES.has(type) || !PARAMS.test(params)) return false;
  for (const sizes of [ne, nb])
    if (!Array.isArray(sizes) || sizes.length !== 4 || !sizes.every(isCount)) return false;
  if (ne[0] % blockElements(type) !== 0 || !isIndex(flags, MAX_FLAGS) || !Array.isArray(src)) return false;
  if (!src.every((source) => source === null || isIndex(source, count))) return false;
  if ((viewSrc !== null && !isIndex(viewSrc, count)) || !isCount(viewOffs)) return false;
  const { tap, axes = [], state = 'zero' } = tensor;
  if (!Array.isArray(axes) || (state !== 'zero' && state !== 'tap')) return false;
  if (!axes.every((axis, at) => isIndex(axis, 4) && axes.indexOf(axis) === at)) return false;
  return tap === undefined || taps.has(tap);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isIndex(value: unknown, count: number): boolean {
  return isCount(value) && (value as number) < count;
}

function checkTensor(
  value: unknown,
  k: number,
  count: number,
  taps: ReadonlySet<string>,
  check: FieldCheck,
): void {
  const at = `tensors[${k}]`;
  const tensor = check.object(value, at);
  check.equal(tensor.id, [k], `${at}.id`);
  for (const key of ['name', 'op', 'type', 'params']) check.string(tensor[key], `${at}.${key}`);
  check.equal(tensor.type, GGML_TYPES, `${at}.type`);
  if (!PARAMS.test(tensor.params as string))
    check.fail(`${at}.params`, 'up to 64 bytes in hex', tensor.params);
  for (const key of ['ne', 'nb']) {
    const sizes = check.array(tensor[key], `${at}.${key}`);
    if (sizes.length !== 4) check.fail(`${at}.${key}`, '4 numbers', sizes);
    for (const [axis, size] of sizes.entries()) check.integer(size, 0, `${at}.${key}[${axis}]`);
  }
  const perBlock = blockElements(tensor.type as TapDtype);
  if ((tensor.ne as number[])[0]! % perBlock !== 0)
    check.fail(`${at}.ne`, `rows of whole blocks of ${perBlock}`, tensor.ne);
  check.index(tensor.flags, MAX_FLAGS, `${at}.flags`);
  for (const [s, source] of check.array(tensor.src, `${at}.src`).entries())
    if (source !== null) check.index(source, count, `${at}.src[${s}]`);
  const { viewSrc = null, viewOffs, tap, axes, state } = tensor;
  if (viewSrc !== null) check.index(viewSrc, count, `${at}.viewSrc`);
  if (viewOffs !== undefined) check.integer(viewOffs, 0, `${at}.viewOffs`);
  for (const key of ['buffer', 'weight'])
    if (tensor[key] !== undefined) check.string(tensor[key], `${at}.${key}`);
  if (state !== undefined) check.equal(state, ['zero', 'tap'], `${at}.state`);
  if (axes !== undefined) {
    const order = check.array(axes, `${at}.axes`);
    for (const [k, axis] of order.entries()) check.index(axis, 4, `${at}.axes[${k}]`);
    if (new Set(order).size !== order.length) check.fail(`${at}.axes`, 'each axis once', axes);
  }
  if (tap !== undefined && !taps.has(tap as string)) check.fail(`${at}.tap`, 'the name of a tap', tap);
}

/** What a tensor is computed from or shares memory with. */
function needs({ src, viewSrc = null }: GraphTensor): number[] {
  const ids: number[] = [];
  for (const id of src) if (id !== null) ids.push(id);
  if (viewSrc !== null) ids.push(viewSrc);
  return ids;
}

/** Follows sources from every tensor, with a stack of its own: graphs are thousands of nodes deep. */
function checkCircles(tensors: readonly GraphTensor[], check: FieldCheck): void {
  const OPEN = 1;
  const DONE = 2;
  const state = new Uint8Array(tensors.length);
  for (const start of tensors.keys()) {
    const stack = state[start] === DONE ? [] : [start];
    while (stack.length > 0) {
      const id = stack.at(-1)!;
      if (state[id] === OPEN || state[id] === DONE) {
        state[id] = DONE;
        stack.pop();
        continue;
      }
      state[id] = OPEN;
      for (const source of needs(tensors[id]!)) {
        if (state[source] === OPEN)
          check.fail(`tensors[${id}].src`, 'sources that do not lead back to it', source);
        if (state[source] !== DONE) stack.push(source);
      }
    }
  }
}

/** A source that is a node of the same graph comes before it. */
function checkOrder(
  nodes: readonly unknown[],
  tensors: readonly GraphTensor[],
  at: string,
  check: FieldCheck,
): void {
  const places = new Map<number, number>();
  for (const [k, id] of nodes.entries()) {
    if (!isIndex(id, tensors.length)) check.index(id, tensors.length, `${at}[${k}]`);
    if (places.has(id as number)) check.fail(`${at}[${k}]`, 'a node that is not listed before', id);
    places.set(id as number, k);
  }
  for (const [id, place] of places)
    for (const source of needs(tensors[id]!))
      if ((places.get(source) ?? -1) > place)
        check.fail(`${at}[${place}]`, `node ${source}, which it reads, before it`, id);
}
