import { type Dtype, ggmlType, sizeBytes } from '../dtype.js';
import { badArgument, unmet } from '../errors.js';
import {
  type NativeArena,
  type NativeContext,
  type NativeGraph,
  type NativeGraphTensor,
  native,
} from '../native.js';
import type { Backend } from './backend.js';
import { type InsertedCopy, unmetNeeds } from './device-needs.js';
import { requireSupported, type UnsupportedNode, unsupportedNodes } from './device-support.js';
import type { Graph } from './graph.js';
import { ggmlFunction, type OpName, VIEW_OPS } from './ops.js';
import { elementCount, type Shape, toNe } from './shape.js';
import type { Tensor } from './tensor.js';

/** A value to read after a run. */
export interface OutputValue {
  name: string;
  dtype: Dtype;
  /** Axes in the reference's order, slowest first. */
  shape: Shape;
  /**
   * Little-endian, contiguous. A view of the graph's memory where the device shares it with the host, valid
   * until the next run of a graph in the same arena; a copy elsewhere.
   */
  bytes: Uint8Array;
}

/** A tensor as ggml has it; `tensor` is absent for a copy that the device needs. */
export interface LoweredTensor extends NativeGraphTensor {
  tensor: Tensor | undefined;
}

/** A graph as ggml sees it, with memory. Made by {@link compileGraphs}. */
export interface CompiledGraph {
  readonly graph: Graph;
  readonly native: NativeGraph;
  /** Contiguous copies that the device needs and the graph does not have: see `device-needs.ts`. */
  readonly inserted: readonly InsertedCopy[];
  /**
   * Inputs that the graph needs. Their memory is used for other values once they have been read, so each run
   * must fill them again.
   */
  readonly inputs: readonly Tensor[];
  /**
   * Fills an input. Throws `BAD_ARGUMENT` for a name that is unknown or that no output needs (it has no
   * memory), `SHAPE_MISMATCH` for a wrong number of bytes, `BAD_ARGUMENT` for indices outside the tables that
   * they point into.
   */
  setInput(name: string, values: ArrayBufferView): void;
  /** Values of the graph's outputs, in the order in which they were declared. */
  outputs(): readonly OutputValue[];
  /** All tensors as ggml has them, each after its sources, with what the graph has in its place. */
  lowered(): readonly LoweredTensor[];
  /**
   * As {@link outputs}: at once where the device shares memory with the host, elsewhere copied off the
   * JavaScript thread, while graphs of other arenas may run.
   */
  collect(): readonly OutputValue[] | Promise<readonly OutputValue[]>;
}

/** Graphs that share memory for their intermediate values, because they run one after the other. */
export interface CompiledGraphs extends Disposable {
  readonly graphs: readonly CompiledGraph[];
  /** Bytes of the shared memory. */
  readonly sizeBytes: number;
  close(): void;
}

/**
 * Hands graphs to ggml and gives them memory on a device: one arena, as large as the largest needs. Throws
 * `BACKEND` when the device has too little, or no kernel for an op.
 *
 * @param keepValues true to leave every value of a graph in its memory until another graph of the arena runs;
 * default false: outputs alone.
 */
export function compileGraphs(
  backend: Backend,
  graphs: readonly Graph[],
  keepValues = false,
): CompiledGraphs {
  const contexts: NativeContext[] = [];
  const lowered: NativeGraph[] = [];
  let arena: NativeArena | undefined;
  const close = () => {
    for (const graph of lowered.splice(0)) graph.close();
    for (const context of contexts.splice(0)) context.close();
    arena?.close();
    arena = undefined;
  };
  try {
    const unsupported: UnsupportedNode[] = [];
    const compiled = graphs.map((graph) => {
      const inserted: InsertedCopy[] = [];
      const context = new (native().Context)(tensorRoom(graph, backend));
      contexts.push(context);
      const handles = lower(graph, context, backend, inserted);
      const nodes = needed(graph);
      unsupported.push(...unsupportedNodes(backend, nodes, context, handles));
      const nativeGraph = new (native().Graph)(
        context,
        nodes.map(({ id }) => handles[id]!),
      );
      lowered.push(nativeGraph);
      if (keepValues) nativeGraph.keepValues();
      return compiledGraph(backend, graph, new Set(nodes), nativeGraph, context, handles, inserted);
    });
    arena = new (native().Arena)(backend.native);
    arena.plan(lowered); // first: a device also says no to values that are larger than it can hold
    requireSupported(graphs.map(({ label }) => label).join(', '), unsupported);
    return { graphs: compiled, sizeBytes: arena.sizeBytes, close, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Tensors that a graph takes on a device, with the copies that the device needs. */
function tensorRoom(graph: Graph, { device }: Backend): number {
  return graph.tensors.reduce((sum, tensor) => sum + 1 + unmetNeeds(device.name, tensor).length, 1);
}

function lower(
  graph: Graph,
  context: NativeContext,
  { device }: Backend,
  inserted: InsertedCopy[],
): number[] {
  const handles: number[] = [];
  for (const tensor of graph.tensors) {
    const sources = tensor.sources.map(({ id }) => handles[id]!);
    for (const need of unmetNeeds(device.name, tensor)) {
      const { id, dtype, shape, name } = tensor.sources[need.operand]!;
      sources[need.operand] = context.op(
        'cont',
        [handles[id]!],
        [],
        ggmlType(dtype),
        toNe(shape),
        `${name}:contiguous`,
      );
      inserted.push({ node: tensor.name, source: name, need });
    }
    handles.push(lowerTensor(tensor, context, sources));
  }
  for (const tensor of graph.outputs.values()) context.setOutput(handles[tensor.id]!);
  return handles;
}

/**
 * Nodes that an output or effect depends on, in the order in which they were built: that is the order in
 * which they run, so that a state is read before a later node replaces it.
 */
export function needed(graph: Graph): Tensor[] {
  const wanted = new Set<Tensor>([...graph.outputs.values(), ...graph.effects]);
  for (const tensor of [...graph.tensors].reverse())
    if (wanted.has(tensor)) for (const source of tensor.sources) wanted.add(source);
  return graph.tensors.filter((tensor) => wanted.has(tensor));
}

function lowerTensor(tensor: Tensor, context: NativeContext, sources: readonly number[]): number {
  const { op, dtype, shape, name, resident, params } = tensor;
  if (resident !== undefined) return context.adopt(resident.context, resident.handle);
  const type = ggmlType(dtype);
  const ne = toNe(shape);
  if (op === 'input') {
    const leaf = context.tensor(type, ne, name);
    context.setInput(leaf);
    return leaf;
  }
  const scalars = op === 'reshape' || op === 'repeat' ? ne : op === 'cast' ? [type] : params;
  return context.op(ggmlFunction(op as OpName), sources, scalars, type, ne, name);
}

/**
 * How many rows the tables have that an I32 input points into, directly or through views: ggml aborts on an
 * index beyond.
 */
function indexLimits(graph: Graph): Map<Tensor, number> {
  const limits = new Map<Tensor, number>();
  const limit = (ids: Tensor, rows: number) => {
    let root = ids;
    while (VIEW_OPS.has(root.op) || root.op === 'cont') root = root.sources[0]!;
    if (root.op === 'input') limits.set(root, Math.min(rows, limits.get(root) ?? rows));
  };
  for (const { op, sources } of graph.tensors) {
    const [a, b, c] = sources;
    if (op === 'getRows') limit(b!, a!.shape[a!.shape.length - 2]!);
    if (op === 'setRows' || op === 'mulMatId') limit(c!, a!.shape[0]!);
  }
  return limits;
}

function checkIndices({ name }: Tensor, rows: number, values: ArrayBufferView): void {
  const ids = new Int32Array(values.buffer, values.byteOffset, values.byteLength / 4);
  const at = ids.findIndex((id) => id < 0 || id >= rows);
  if (at >= 0) throw badArgument('setInput', `indices from 0 to ${rows - 1}`, `${ids[at]} at ${at}`, name);
}

function compiledGraph(
  { device }: Backend,
  graph: Graph,
  nodes: ReadonlySet<Tensor>,
  nativeGraph: NativeGraph,
  context: NativeContext,
  handles: readonly number[],
  inserted: readonly InsertedCopy[],
): CompiledGraph {
  const limits = indexLimits(graph);
  const isShared = device.type === 'cpu';
  const handleOf = (name: string) => handles[graph.outputs.get(name)!.id]!;
  let values: OutputValue[] | undefined;
  // Addresses are fixed, so the views are made once. Closing leaves them empty; then asking again throws
  // CLOSED.
  const prepared = (): readonly OutputValue[] => {
    if (values === undefined || values.some(({ bytes }) => bytes.byteLength === 0))
      values = [...graph.outputs].map(([name, { dtype, shape }]) => ({
        name,
        dtype,
        shape,
        bytes: isShared
          ? context.view(handleOf(name))
          : new Uint8Array(sizeBytes(dtype, elementCount(shape))),
      }));
    return values;
  };
  return {
    graph,
    native: nativeGraph,
    inserted,
    inputs: graph.tensors.filter((tensor) => tensor.op === 'input' && nodes.has(tensor)),
    setInput(name, values) {
      const tensor = graph.tensors.find((candidate) => candidate.op === 'input' && candidate.name === name);
      if (tensor === undefined)
        throw unmet('BAD_ARGUMENT', 'setInput', `an input of graph ${graph.label}`, name, { tensor: name });
      if (!nodes.has(tensor))
        throw unmet(
          'BAD_ARGUMENT',
          'setInput',
          `an input that an output of graph ${graph.label} needs`,
          name,
          { tensor: name },
        );
      const expected = sizeBytes(tensor.dtype, elementCount(tensor.shape));
      if (values.byteLength !== expected)
        throw unmet(
          'SHAPE_MISMATCH',
          'setInput',
          `${expected} bytes for [${tensor.shape.join(', ')}] ${tensor.dtype}`,
          values.byteLength,
          { where: name, tensor: name },
        );
      const rows = limits.get(tensor);
      if (rows !== undefined) checkIndices(tensor, rows, values);
      context.write(
        handles[tensor.id]!,
        new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        0,
      );
    },
    outputs() {
      const list = prepared();
      if (!isShared) for (const { name, bytes } of list) context.read(handleOf(name), bytes, 0);
      return list;
    },
    lowered() {
      const byHandle = new Map(graph.tensors.map((tensor) => [handles[tensor.id], tensor]));
      return nativeGraph.tensors().map((each) => ({ ...each, tensor: byHandle.get(each.handle) }));
    },
    collect() {
      const list = prepared();
      if (isShared) return list;
      const handlesOf = list.map(({ name }) => handleOf(name));
      return context
        .readAll(
          handlesOf,
          list.map(({ bytes }) => bytes),
        )
        .then(() => list);
    },
  };
}
