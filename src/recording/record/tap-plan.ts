/** What a recording's dump holds: a tap for each named value, and where each tensor's bytes go. */
import type { TapSpec } from '../../dump/format.js';
import { nameValues, type ValueName } from './node-names.js';
import {
  type Four,
  type GraphCollector,
  type RecordedGraph,
  type RecordedTensor,
  valueSizes,
} from './recorded-graph.js';
import { tokenAxes } from './token-axis.js';

/** How the value of one tensor lies in its tap. */
export interface PlannedValue {
  tap: string;
  /** Number of the graph in which it comes. */
  graph: number;
  block: number | null;
  /** ggml's axes (0 is the fastest) in the order of the tap's, the token axis first for scope `token`. */
  axes: readonly number[];
  /** Sizes in the order of `axes`. */
  shape: readonly number[];
}

/** The taps of a recording. */
export interface TapPlan {
  taps: TapSpec[];
  /** By tensor id. */
  values: ReadonlyMap<number, PlannedValue>;
  /** Tensors whose values a block of a graph needs before it can be written: by graph, then by block. */
  expected: readonly ReadonlyMap<number | null, number>[];
}

/** One value in one graph. */
interface Instance {
  id: number;
  graph: number;
  tensor: RecordedTensor;
  ne: Four;
  axis: number | undefined;
  declared: DeclaredShape | undefined;
}

/** How a program's own names say that a value lies: elements in ggml's order, whatever axes the node has. */
export interface DeclaredShape {
  scope: 'token' | 'step';
  /** Slowest first; of scope `token` the token axis comes first. */
  axes: readonly string[];
  /** Sizes in the order of `axes`. */
  shape: readonly number[];
}

/** Name, block, and where it is known how the value lies. */
export type PlannedName = ValueName & { declared?: DeclaredShape | undefined };

/** Names that columns of a dump have. */
const TAKEN: ReadonlySet<string> = new Set(['sequence', 'position', 'token_id', 'step']);

/**
 * @param graphs all graphs of the run, collected before its values are read.
 * @param rows tokens of each graph.
 * @param options `names` of the values of a graph, by tensor; default: ggml's own.
 */
export function planTaps(
  { tensors, graphs }: Pick<GraphCollector, 'tensors' | 'graphs'>,
  rows: readonly number[],
  {
    names = nameValues,
    tokenAxis,
  }: {
    names?: (graph: RecordedGraph, tensors: readonly RecordedTensor[]) => ReadonlyMap<number, PlannedName>;
    /** Of tensors of which the program says it. Default none. */
    tokenAxis?: ReadonlyMap<number, number>;
  } = {},
): TapPlan {
  const named = new Map<string, { block: number | null; instances: Instance[] }>();
  for (const [g, graph] of graphs.entries()) {
    const axes = tokenAxes(graph, tensors, tokenAxis);
    for (const [id, { name, block, declared }] of names(graph, tensors)) {
      const tensor = tensors[id]!;
      const ne = valueSizes(tensor, tensors);
      if (!hasValue({ ...tensor, ne })) continue;
      // A value of another type under the same name is a value of its own.
      const key = variantOf(TAKEN.has(name) ? `${name}#` : name, block, tensor, named);
      const entry = named.get(key) ?? { block, instances: [] };
      named.set(key, entry);
      entry.instances.push({ id, graph: g, tensor, ne, axis: axes.get(id), declared });
    }
  }
  const taps: TapSpec[] = [];
  const values = new Map<number, PlannedValue>();
  const expected = graphs.map(() => new Map<number | null, number>());
  for (const [name, { block, instances }] of named) {
    const { spec, axes } = planTap(name, block, instances, rows, graphs.length);
    taps.push(spec);
    for (const { id, graph, ne, declared } of instances) {
      const shape = declared?.shape ?? axes.map((axis) => ne[axis]!);
      values.set(id, { tap: name, graph, block, axes, shape });
      const waiting = expected[graph]!;
      waiting.set(block, (waiting.get(block) ?? 0) + 1);
    }
  }
  return { taps, values, expected };
}

/** Whether a run tells the bytes: of nodes, of inputs that have memory, of states that hold something. */
function hasValue({ kind, ne, buffer, isZero }: RecordedTensor): boolean {
  if (ne.includes(0)) return false; // such a node computes nothing
  return kind === 'node' || (buffer !== '' && (kind === 'input' || (kind === 'state' && !isZero)));
}

function variantOf(
  name: string,
  block: number | null,
  { type }: RecordedTensor,
  named: ReadonlyMap<string, { block: number | null; instances: readonly Instance[] }>,
): string {
  const found = named.get(name);
  if (found === undefined || (found.block === block && found.instances[0]!.tensor.type === type)) return name;
  return variantOf(`${name}@${type}`, block, { type } as RecordedTensor, named);
}

function planTap(
  name: string,
  block: number | null,
  instances: readonly Instance[],
  rows: readonly number[],
  graphs: number,
): { spec: TapSpec; axes: readonly number[] } {
  // The graph with the most tokens says which axis they are: of one token alone several axes have size 1.
  const widest = instances.reduce((a, b) => (rows[b.graph]! > rows[a.graph]! ? b : a));
  if (widest.declared !== undefined)
    return { spec: declaredTap(name, block, instances, widest), axes: ownAxes(instances) };
  const axis = widest.axis;
  const isToken =
    axis !== undefined && axis > 0 && instances.every(({ ne, graph }) => ne[axis] === rows[graph]);
  const used = [0, 1, 2, 3].filter((k) => instances.some(({ ne }) => ne[k] !== 1));
  const rank = Math.max(1, 1 + Math.max(-1, ...used), isToken ? axis + 1 : 0);
  const slowestFirst = [3, 2, 1, 0].filter((k) => k < rank && !(isToken && k === axis));
  const axes = isToken ? [axis, ...slowestFirst] : slowestFirst;
  const shape = slowestFirst.map((k) =>
    instances.every(({ ne }) => ne[k] === instances[0]!.ne[k]) ? instances[0]!.ne[k]! : null,
  );
  const isEverywhere = new Set(instances.map(({ graph }) => graph)).size === graphs;
  const spec: TapSpec = {
    name,
    block,
    dtype: widest.tensor.type,
    scope: isToken ? 'token' : 'step',
    axes: axes.map((k) => (isToken && k === axis ? 'T' : `ne${k}`)),
    shape,
    nullable: isToken && !isEverywhere ? true : undefined,
    masked: isMask(widest.tensor) ? true : undefined,
  };
  return { spec, axes };
}

/** The axis of visible tokens, which grows from step to step. */
const VISIBLE = 'S';

function declaredTap(
  name: string,
  block: number | null,
  instances: readonly Instance[],
  { declared, tensor }: Instance,
): TapSpec {
  const { scope, axes } = declared!;
  const first = scope === 'token' ? 1 : 0;
  const sizes = instances.map((each) => each.declared!.shape.slice(first));
  const shape = sizes[0]!.map((size, k) =>
    axes[first + k] !== VISIBLE && sizes.every((each) => each[k] === size) ? size : null,
  );
  return { name, block, dtype: tensor.type, scope, axes, shape };
}

/** ggml's axes in their own order, slowest first, without those of size 1 above all others. */
function ownAxes(instances: readonly Instance[]): number[] {
  const top = Math.max(0, ...[1, 2, 3].filter((k) => instances.some(({ ne }) => ne[k] !== 1)));
  return Array.from({ length: top + 1 }, (_, k) => top - k);
}

/** Masks of attention hold minus infinity where nothing may be seen. */
function isMask({ kind, name }: RecordedTensor): boolean {
  return kind === 'input' && /mask/i.test(name);
}

/** A value's bytes with its axes in the order of the tap's: the same bytes where that is ggml's own order. */
export function inTapOrder(
  bytes: Uint8Array,
  ne: Four,
  axes: readonly number[],
  itemBytes: number,
): Uint8Array {
  return reorder(bytes, ne, axes, itemBytes, false);
}

/** The reverse of {@link inTapOrder}. */
export function inGgmlOrder(
  bytes: Uint8Array,
  ne: Four,
  axes: readonly number[],
  itemBytes: number,
): Uint8Array {
  return reorder(bytes, ne, axes, itemBytes, true);
}

/** @param itemBytes of an element of axis 0, or of a block of elements with `ne[0]` counting blocks. */
function reorder(
  bytes: Uint8Array,
  ne: Four,
  axes: readonly number[],
  itemBytes: number,
  isBack: boolean,
): Uint8Array {
  const isOwn = axes.every(
    (axis, k) => k === 0 || axes[k - 1]! > axis || ne[axis] === 1 || ne[axes[k - 1]!] === 1,
  );
  if (isOwn || bytes.byteLength === 0) return bytes;
  const out = new Uint8Array(bytes.byteLength);
  // Runs that stay together: whole rows of axis 0 where it stays the fastest.
  const rowBytes = axes.at(-1) === 0 ? ne[0] * itemBytes : itemBytes;
  const loop = axes.at(-1) === 0 ? axes.slice(0, -1) : [...axes];
  const stride = [itemBytes, ne[0] * itemBytes, ne[0] * ne[1] * itemBytes, ne[0] * ne[1] * ne[2] * itemBytes];
  let place = 0;
  const walk = (depth: number, from: number): void => {
    if (depth === loop.length) {
      if (isBack) out.set(bytes.subarray(place, place + rowBytes), from);
      else out.set(bytes.subarray(from, from + rowBytes), place);
      place += rowBytes;
      return;
    }
    const axis = loop[depth]!;
    for (let k = 0; k < ne[axis]!; k++) walk(depth + 1, from + k * stride[axis]!);
  };
  walk(0, 0);
  return out;
}
