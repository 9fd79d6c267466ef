/** Walks through a recording, node by node, in the order in which it ran: nothing is computed again. */
import { ownerOf } from '../../dump/graph-file.js';
import { rowStats } from '../../dump/row-stats.js';
import { badArgument, unmet } from '../../errors.js';
import { type Breakpoint, type CompiledBreakpoint, compileBreakpoint } from '../../locate/step/breakpoint.js';
import { statsOfRow, type ValueStats } from '../../locate/step/value.js';
import { tapPattern } from '../../tap-pattern.js';
import { type NodeReaders, type NodeSource, type NodeSources, nodeReaders, nodeSources } from '../edges.js';
import { nodeLabel } from '../node-label.js';
import { parameterWords } from '../op-words.js';
import { Recording } from '../replay/open-recording.js';
import { countNonFinite, widenToFloat64 } from '../replay/widen.js';

/** Options of {@link openRecordingStepper}. */
export interface RecordingStepperOptions {
  /** Values that it stops at, a tap pattern. Default all. */
  taps?: string;
}

/** How far `step` and `back` go: to the next node, the last of the next block, or of the next graph. */
export type NodeStepUnit = 'node' | 'block' | 'graph';

/** Where a stepper stands. */
export interface NodePlace {
  /** As in {@link RecordingStepper.names}. */
  name: string;
  tap: string;
  /** ggml's op, e.g. `MUL_MAT`. */
  op: string;
  /** The node's number in the graph. */
  id: number;
  /** The graph that it is of. */
  step: number;
  block: number | null;
  /** Place in {@link RecordingStepper.names}. */
  index: number;
}

/** What a node reads. */
export interface NodeSourceInfo {
  /** A weight by its name in the file, a value by its tap. */
  name: string;
  kind: 'weight' | 'input' | 'state' | 'node';
  /** ggml's type, and sizes of what is read, the fastest axis first. */
  type: string;
  ne: readonly number[];
  /** Whether it reads through a view: other sizes or strides over the same memory. */
  isView: boolean;
  /**
   * Nodes that wrote it, as in {@link RecordingStepper.names} or by tap where they are not stepped through.
   */
  writers: readonly string[];
}

/** A node with its value. */
export interface NodeValue extends NodePlace {
  /** Type as recorded. */
  dtype: string;
  /** Axes and their sizes, slowest first; `T` counts tokens. */
  axes: readonly string[];
  shape: readonly number[];
  /** The numbers: F32 as it is, all other types as doubles. */
  data: Float32Array | Float64Array;
  stats: ValueStats;
  /** NaN and infinities, but for minus infinity, which masks hold: what the breakpoint `nan` stops at. */
  nonFinite: number;
  /** ggml's parameters in words, e.g. `epsilon 0.000001`. */
  parameters: readonly string[];
  sources: readonly NodeSourceInfo[];
  /** Nodes that read it. */
  users: readonly string[];
}

/** Why and where {@link RecordingStepper.continue} stopped. */
export interface NodeStop {
  /** The pattern of the breakpoint, `nan`, `predicate`, or `end`. */
  reason: string;
  value: NodeValue;
}

const OP = 'openRecordingStepper';

/**
 * Opens a recording for stepping. Only the graph is held in memory; values are read as one comes to them.
 * @throws `BAD_DUMP` for a dump without a graph or with one that does not fit its values, `BAD_ARGUMENT` for
 * a pattern that matches no node, `IO`.
 */
export async function openRecordingStepper(
  folder: string,
  { taps = '**' }: RecordingStepperOptions = {},
): Promise<RecordingStepper> {
  const recording = await Recording.open(OP, folder);
  try {
    return new RecordingStepper(recording, taps);
  } catch (error) {
    await recording[Symbol.asyncDispose]();
    throw error;
  }
}

/** Stands at a node of a recording. Calls are served in their order; they throw `CLOSED` after `close`. */
export class RecordingStepper implements AsyncDisposable {
  /** Nodes in the order in which they ran: taps; of later steps than the first `TAP@STEP`. */
  readonly names: readonly string[];
  readonly #recording: Recording;
  readonly #places: readonly NodePlace[];
  readonly #sources: NodeSources;
  readonly #users: NodeReaders;
  readonly #labels = new Map<number, string>();
  /** Names of views of a node's value, by its id. */
  readonly #aliases = new Map<number, string[]>();
  readonly #breakpoints = new Set<CompiledBreakpoint>();
  #at = -1;
  #isClosed = false;
  #last: Promise<unknown> = Promise.resolve();

  /** Made by {@link openRecordingStepper}. */
  constructor(recording: Recording, taps: string) {
    this.#recording = recording;
    const { graphs, tensors } = recording.graph;
    const matches = tapPattern(taps);
    const places: NodePlace[] = [];
    for (const { step, nodes } of graphs)
      for (const id of nodes) {
        const node = tensors[id]!;
        if (!recording.computes(id) || node.tap === undefined) continue;
        const name = nodeLabel(node.tap, step);
        this.#labels.set(id, name);
        if (!matches(node.tap) && !matches(name)) continue;
        const block = recording.blockOf(node);
        places.push({ name, tap: node.tap, op: node.op, id, step, block, index: places.length });
      }
    if (places.length === 0) throw badArgument(OP, 'a pattern that matches a node', `'${taps}'`);
    this.#places = places;
    this.names = places.map(({ name }) => name);
    for (const { viewSrc, name } of tensors)
      if (viewSrc != null) this.#aliases.set(viewSrc, [...(this.#aliases.get(viewSrc) ?? []), name]);
    this.#sources = nodeSources(recording.graph);
    this.#users = nodeReaders(this.#sources);
  }

  /** Where it stands; undefined before the first step. */
  get current(): NodePlace | undefined {
    return this.#places[this.#at];
  }

  /** Goes on, past breakpoints. Gives the value there; undefined, and stays, where there is none. */
  step(unit: NodeStepUnit = 'node'): Promise<NodeValue | undefined> {
    return this.#queued('step', () => this.#move(this.#find(unit, 1)));
  }

  /** As {@link step}, backwards. */
  back(unit: NodeStepUnit = 'node'): Promise<NodeValue | undefined> {
    return this.#queued('back', () => this.#move(this.#find(unit, -1)));
  }

  /** Goes to a node, by its name in {@link names} or its number. Throws `BAD_ARGUMENT` for others. */
  goTo(node: string | number): Promise<NodeValue> {
    return this.#queued('goTo', async () => (await this.#move(this.#indexOf('goTo', node)))!);
  }

  /** A node's value, without moving. Throws `BAD_ARGUMENT` for one that is not stepped through. */
  value(node: string | number): Promise<NodeValue> {
    return this.#queued('value', () => this.#read(this.#indexOf('value', node)));
  }

  /**
   * Adds a breakpoint for {@link continue}: a pattern over taps, {@link names} and names
   * of views (which stop at what they are views of), `nan`, or a predicate over
   * name and statistics. Gives a function that removes it. Throws `BAD_ARGUMENT` for a pattern without match.
   */
  breakpoint(at: Breakpoint): () => void {
    const others = this.#places.flatMap(({ tap, id }) => [tap, ...(this.#aliases.get(id) ?? [])]);
    const entry = compileBreakpoint(at, [...this.names, ...others]);
    this.#breakpoints.add(entry);
    return () => void this.#breakpoints.delete(entry);
  }

  /**
   * Goes on, from the node after the current one, to the first that a breakpoint stops at, else to the last.
   */
  continue(): Promise<NodeStop> {
    return this.#queued('continue', async () => {
      const isByValue = [...this.#breakpoints].some(({ needsValue }) => needsValue);
      for (let index = this.#at + 1; index < this.#places.length; index++) {
        const { name, tap, id } = this.#places[index]!;
        const called = [name, tap, ...(this.#aliases.get(id) ?? [])];
        const known = isByValue ? await this.#read(index) : undefined;
        for (const each of this.#breakpoints) {
          const isHit =
            each.reason === 'nan'
              ? known!.nonFinite > 0
              : each.needsValue
                ? each.hit({ name, stats: known!.stats })
                : called.some((text) => each.hit({ name: text }));
          if (!isHit) continue;
          this.#at = index;
          return { reason: each.reason, value: known ?? (await this.#read(index)) };
        }
      }
      this.#at = this.#places.length - 1;
      return { reason: 'end', value: await this.#read(this.#at) };
    });
  }

  /** Closes its files. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#last.catch(() => {});
    await this.#recording[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #find(unit: NodeStepUnit, direction: 1 | -1): number {
    const key = ({ step, block }: NodePlace): string => (unit === 'graph' ? `${step}` : `${step} ${block}`);
    for (let at = this.#at + direction; at >= 0 && at < this.#places.length; at += direction) {
      const next = this.#places[at + 1];
      if (unit === 'node' || next === undefined || key(this.#places[at]!) !== key(next)) return at;
    }
    return -1;
  }

  #indexOf(op: string, node: string | number): number {
    const index =
      typeof node === 'number' ? this.#places.findIndex(({ id }) => id === node) : this.names.indexOf(node);
    if (index < 0) throw badArgument(op, 'a node that is stepped through', String(node));
    return index;
  }

  async #move(index: number): Promise<NodeValue | undefined> {
    if (index < 0) return undefined;
    const value = await this.#read(index);
    this.#at = index;
    return value;
  }

  async #read(index: number): Promise<NodeValue> {
    const place = this.#places[index]!;
    const { dump, graph } = this.#recording;
    const node = graph.tensors[place.id]!;
    const { data, shape } = await dump.read(place.tap, { step: place.step });
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const numbers =
      data instanceof Float32Array ? data : await widenToFloat64(bytes, node.type, shape.at(-1) ?? 1);
    const dtype = numbers instanceof Float32Array ? 'F32' : 'F64';
    return {
      ...place,
      dtype: node.type,
      axes: dump.tap(place.tap).axes,
      shape,
      data: numbers,
      stats: statsOfRow(rowStats(numbers, dtype, numbers.length)),
      nonFinite: countNonFinite(bytes, node.type),
      parameters: parameterWords(node.op, node.params),
      sources: this.#sources.get(place.id)!.map((source) => this.#describe(source)),
      users: [...this.#users.of(place.id)].map((id) => this.#nameOf(id)),
    };
  }

  #describe({ tensor, writers, leaf }: NodeSource): NodeSourceInfo {
    const { tensors } = this.#recording.graph;
    const owner = ownerOf(tensor, tensors);
    const kind =
      owner.weight !== undefined
        ? 'weight'
        : owner.state !== undefined
          ? 'state'
          : leaf !== undefined
            ? 'input'
            : 'node';
    return {
      name: owner.weight ?? owner.tap ?? owner.name,
      kind,
      type: tensor.type,
      ne: tensor.ne,
      isView: tensor !== owner,
      writers: writers.map((id) => this.#nameOf(id)),
    };
  }

  #nameOf(id: number): string {
    return this.#labels.get(id) ?? this.#recording.graph.tensors[id]!.name;
  }

  #queued<T>(op: string, work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(unmet('CLOSED', op, 'an open stepper', 'a closed one'));
    const result = this.#last.catch(() => {}).then(work);
    this.#last = result;
    return result;
  }
}
