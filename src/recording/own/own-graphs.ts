/**
 * The graphs of a run of our own, as a recording has them: every tensor of every segment, each call's
 * segments one graph.
 */
import type { CompiledGraph, LoweredTensor } from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import { VIEW_OPS } from '../../graph/ops.js';
import { copy } from '../../graph/ops-layout.js';
import { readResident } from '../../graph/resident.js';
import type { Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../../models/architectures.js';
import type { Model } from '../../models/runtime/model.js';
import { LOGITS } from '../../models/runtime/segments.js';
import type { Taps } from '../../models/runtime/tap.js';
import { GraphCollector, type RecordedGraph, type RecordedTensor } from '../record/recorded-graph.js';
import type { PlannedName } from '../record/tap-plan.js';

/** A tensor that a segment has brought, and where its value is. */
export interface Brought {
  tensor: RecordedTensor;
  /** Its place among those of the segment. */
  place: number;
  /** Of a leaf: its value before the segment runs; absent for weights, and for states of zeros. */
  bytes?: Uint8Array | undefined;
}

/** What a leaf is that a graph finds in memory. */
type Leaf = 'weight' | 'input' | 'kept' | 'boundary';

/** Follows the segments of a run, in the order in which they run. */
export class OwnGraphs {
  readonly collector = new GraphCollector();
  /** By tensor. */
  readonly names = new Map<number, PlannedName>();
  /** Which of ggml's axes counts tokens, of tensors of which the model file says it. */
  readonly tokenAxis = new Map<number, number>();
  /** What the model file says of the names that it gives. */
  readonly taps: Taps;
  readonly #model: Model;
  readonly #axes = new WeakMap<Graph, Map<string, string>>();
  readonly #boundaries: ReadonlySet<string>;
  /** Ids by address: of weights and of what is kept between calls. */
  #lasting = new Map<number, number>();
  #ids = new Map<number, number>();
  #uses = new Map<string, number>();
  #graph = -1;

  constructor(model: Model) {
    this.#model = model;
    this.#boundaries = new Set(Object.keys(architectureOf(model.config).states(model.config)));
    this.taps = {
      wants: () => true,
      show: (value) => (hasNode(value) ? value : copy(value)),
      declare: (name, axes, { graph }) => {
        const known = this.#axes.get(graph) ?? new Map<string, string>();
        this.#axes.set(graph, known);
        known.set(name, axes);
      },
    };
  }

  /** Names of the values of one graph, leaves first. */
  namesOf({ leaves, nodes }: RecordedGraph): Map<number, PlannedName> {
    return new Map(
      [...leaves, ...nodes].flatMap((id) => {
        const name = this.names.get(id);
        return name === undefined ? [] : [[id, name] as const];
      }),
    );
  }

  /** Begins a call. @param isFirst of its sequence, which remembers nothing of the one before. */
  begin(isFirst: boolean): void {
    if (isFirst) this.#lasting = new Map();
    this.#ids = new Map();
    this.#uses = new Map();
    this.#graph++;
  }

  /** Describes a segment, before it runs. @param reads false to leave values where they are. */
  add(segment: number, compiled: CompiledGraph, reads: boolean): Brought[] {
    const { graph } = compiled;
    const lowered = compiled.lowered();
    const block = segment >= 1 && segment <= this.#model.config.num_hidden_layers ? segment - 1 : null;
    const names = namesOf(graph);
    const brought: Brought[] = [];
    for (const [place, each] of lowered.entries()) {
      const known = this.#lasting.get(each.address) ?? this.#ids.get(each.address);
      if (known !== undefined) {
        this.#ids.set(each.address, known);
        continue;
      }
      const leaf = each.op === 'NONE' && each.viewSrc === null ? this.#leafOf(each) : undefined;
      const bytes = leaf === undefined ? undefined : leafBytes(leaf, each, place, compiled, reads);
      const name = this.#nameOf(each, leaf, names);
      const tensor = this.#describe(each, leaf, name, bytes !== undefined && isZero(bytes));
      if (leaf === 'weight' || leaf === 'kept') this.#lasting.set(each.address, tensor.id);
      this.#name(tensor, each, block, names);
      if (leaf === 'boundary') this.tokenAxis.set(tensor.id, 1);
      if (leaf === 'input' && each.tensor?.name === 'tokens') this.tokenAxis.set(tensor.id, 0);
      const isTold = reads && bytes !== undefined && !tensor.isZero;
      brought.push({ tensor, place, bytes: isTold ? bytes : undefined });
    }
    return brought;
  }

  #describe(each: LoweredTensor, leaf: Leaf | undefined, name: string, isZero: boolean): RecordedTensor {
    const id = this.collector.tensors.length;
    this.#ids.set(each.address, id);
    const idOf = (address: number) => this.#ids.get(address)!;
    const kinds = { weight: 'weight', input: 'input', kept: 'state', boundary: 'state' } as const;
    return this.collector.add({
      id,
      graph: this.#graph,
      kind: leaf === undefined ? (each.computes ? 'node' : 'view') : kinds[leaf],
      name,
      op: each.op,
      type: each.type,
      ne: each.ne,
      nb: each.nb,
      params: each.params,
      flags: each.flags,
      src: each.src.map((address) => (address === null ? null : idOf(address))),
      ...(each.viewSrc !== null && { viewSrc: idOf(each.viewSrc), viewOffs: each.viewOffs }),
      buffer: each.buffer,
      // A segment writes the whole of what it hands on before another reads it.
      isZero: leaf === 'boundary' || (leaf === 'kept' && isZero),
    });
  }

  #leafOf({ tensor }: LoweredTensor): Leaf {
    const resident = tensor?.resident;
    if (resident === undefined) return 'input';
    if (this.#model.weights.tensors.get(resident.name) === resident) return 'weight';
    if (this.#boundaries.has(resident.name)) return 'boundary';
    return resident.name.startsWith('layers.') ? 'kept' : 'input';
  }

  /** One that does not change with the number of nodes before it: recordings of two runs pair by it. */
  #nameOf(
    { name, tensor, src, op, computes }: LoweredTensor,
    leaf: Leaf | undefined,
    names: ReadonlyMap<Tensor, string>,
  ): string {
    if (leaf === 'weight') return tensor!.resident!.name;
    const own = tensor?.name ?? name;
    const named = tensor && names.get(tensor);
    const source = computes || leaf !== undefined ? undefined : this.#ids.get(src[0]!);
    const base =
      source !== undefined
        ? `${this.collector.tensors[source]!.name} (${op.toLowerCase()})`
        : (named ?? (leaf === undefined ? unnamed(own, tensor) : `in:${own}`));
    const use = (this.#uses.get(base) ?? 0) + 1;
    this.#uses.set(base, use);
    return use === 1 ? base : `${base}#${use}`;
  }

  /** Name, block and shape of a value's tap. */
  #name(
    { id, kind, name }: RecordedTensor,
    { tensor: own }: LoweredTensor,
    block: number | null,
    names: ReadonlyMap<Tensor, string>,
  ): void {
    if (kind === 'view' || kind === 'weight') return;
    const named = own && names.get(own);
    const axes = named === undefined ? undefined : this.#axes.get(own!.graph)?.get(named);
    if (axes?.startsWith('T')) this.tokenAxis.set(id, own!.shape.length - 1);
    this.names.set(id, {
      name,
      block: kind === 'input' ? null : block,
      declared: axes !== undefined ? declaredShape(axes.split(','), own!) : undefined,
    });
  }
}

/** Whether a value is all that a node computes, and no name has been given to it yet. */
function hasNode(value: Tensor): boolean {
  const { graph, op } = value;
  return !(VIEW_OPS.has(op) || NOT_A_VALUE.has(op) || [...graph.outputs.values()].includes(value));
}

/** These are memory that lasts, or write a part of it. */
const NOT_A_VALUE: ReadonlySet<string> = new Set(['resident', 'setRows', 'copyInto']);

/** The names of a graph's nodes. */
function namesOf(graph: Graph): ReadonlyMap<Tensor, string> {
  const outputs = [...graph.outputs].filter(([name]) => name !== LOGITS);
  return new Map(outputs.map(([name, shown]) => [shown, name]));
}

/** Nodes that compute what has no name are named after the module and the op; a number tells them apart. */
function unnamed(name: string, own: Tensor | undefined): string {
  const bare = name.replace(/#\d+/, '');
  return own === undefined || name.includes('/') ? bare : `${own.graph.label}/${bare}`;
}

/** Values of a step lie [B, ..], and dumps leave the axis of sequences out. */
function declaredShape(axes: readonly string[], { shape }: Tensor): NonNullable<PlannedName['declared']> {
  const scope = axes[0] === 'T' ? 'token' : 'step';
  return { scope, axes, shape: shape.slice(shape.length - axes.length) };
}

function leafBytes(
  leaf: Leaf,
  { tensor }: LoweredTensor,
  place: number,
  { native }: CompiledGraph,
  reads: boolean,
): Uint8Array | undefined {
  if (leaf === 'weight' || leaf === 'boundary') return undefined;
  if (leaf === 'kept') return readResident(tensor!.resident!);
  if (!reads) return undefined;
  return tensor?.resident === undefined ? native.value(place) : readResident(tensor.resident);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
