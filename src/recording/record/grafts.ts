/** Values that are written into a run: from files, or from another recording. */
import { basename } from 'node:path';
import { blockElements, type TapDtype, tapBlockBytes } from '../../dump/dtypes.js';
import { readGraph } from '../../dump/graph-file.js';
import { openNpy } from '../../dump/import/source-numpy.js';
import { Dump } from '../../dump/reader.js';
import { badArgument, type ZayascopeError } from '../../errors.js';
import { tapPattern } from '../../tap-pattern.js';
import type { GraphCollector } from './recorded-graph.js';
import { inGgmlOrder, type PlannedValue, type TapPlan } from './tap-plan.js';

/** A value to write into a run in place of its own. */
export interface SetValue {
  /** The tap's name. */
  tap: string;
  /** The graph in which it is written. Default: the first that has the tap. */
  step?: number;
  /** A `.npy` file with the tap's dtype and shape, the token axis first where it has one. */
  file: string;
}

/** Values of another recording, written into a run step by step. */
export interface PinValues {
  /** Pattern of tap names, or of names of views: then what they are views of. */
  taps: string;
  /** Folder of a recording of the same graphs. */
  from: string;
}

/** One node of one graph, and where its new value comes from. */
interface Graft {
  id: number;
  planned: PlannedValue;
  bytes(): Promise<Uint8Array>;
}

const OP = 'record';

/** All that is written into a run. */
export class Grafts implements AsyncDisposable {
  readonly #byStep = new Map<number, Map<number, Graft>>();
  readonly #dumps: Dump[] = [];
  readonly #graphs: Pick<GraphCollector, 'tensors' | 'graphs'>;
  readonly #plan: TapPlan;

  private constructor(graphs: Pick<GraphCollector, 'tensors' | 'graphs'>, plan: TapPlan) {
    this.#graphs = graphs;
    this.#plan = plan;
  }

  /**
   * @throws `BAD_ARGUMENT` for names that the run does not have, `UNPAIRED` for other sizes or dtypes, `IO`.
   */
  static async open(
    { set = [], pin = [] }: { set?: readonly SetValue[]; pin?: readonly PinValues[] },
    graphs: Pick<GraphCollector, 'tensors' | 'graphs'>,
    plan: TapPlan,
  ): Promise<Grafts> {
    const grafts = new Grafts(graphs, plan);
    try {
      for (const each of pin) await grafts.#pin(each);
      for (const each of set) grafts.#set(each);
      return grafts;
    } catch (error) {
      await grafts[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Nodes that are written into. */
  get count(): number {
    return [...this.#byStep.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** The bytes for the nodes of a graph, in ggml's order. */
  async *of(step: number): AsyncGenerator<{ id: number; bytes: Uint8Array }> {
    for (const { id, planned, bytes } of this.#byStep.get(step)?.values() ?? []) {
      const { type, ne } = this.#valueOf(id);
      const ordered = inGgmlOrder(
        await bytes(),
        [ne[0] / blockElements(type), ne[1], ne[2], ne[3]],
        planned.axes,
        tapBlockBytes(type),
      );
      yield { id, bytes: ordered };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dump of this.#dumps.splice(0)) await dump[Symbol.asyncDispose]();
  }

  #valueOf(id: number): { type: TapDtype; ne: readonly [number, number, number, number] } {
    const { type } = this.#graphs.tensors[id]!;
    const { axes, shape } = this.#plan.values.get(id)!;
    const ne: [number, number, number, number] = [1, 1, 1, 1];
    for (const [k, axis] of axes.entries()) ne[axis] = shape[k]!;
    return { type, ne };
  }

  #set({ tap, step, file }: SetValue): void {
    const places = this.#places((name) => name === tap);
    const place = places.find((each) => step === undefined || each.step === step);
    if (place === undefined)
      throw badGraft(
        places.length === 0
          ? 'a node that computes'
          : `a step that has it (${places.map((each) => each.step).join(', ')})`,
        step === undefined || places.length === 0 ? tap : `step ${step}`,
        tap,
      );
    this.#add(place, async () => {
      await using source = await openNpy(file);
      const { dtype, shape, read, unusable } = source.values[0]!;
      const { planned } = place;
      const type = this.#graphs.tensors[place.id]!.type;
      if (unusable !== undefined) throw badGraft(`an array of ${type}`, unusable, tap);
      if (dtype !== type || withoutOnes(shape) !== withoutOnes(planned.shape))
        throw badGraft(
          `${planned.shape.join(' x ')} of ${type}`,
          `${shape.join(' x ')} of ${dtype} (${basename(file)})`,
          tap,
        );
      return read();
    });
  }

  async #pin({ taps, from }: PinValues): Promise<void> {
    const dump = await Dump.open(from);
    this.#dumps.push(dump);
    if (dump.manifest.graph === undefined)
      throw badGraft('a recording, which has a graph', 'a dump without one', from);
    const { tensors } = await readGraph(from, new Set(dump.taps.map(({ name }) => name)));
    const theirs = new Map(tensors.map(({ tap, type, axes }) => [tap, { type, axes }]));
    const places = this.#places(tapPattern(taps));
    if (places.length === 0) throw badGraft('a pattern that matches a node', 'none', taps);
    for (const place of places) {
      const { tap, axes, shape } = place.planned;
      const { type } = this.#graphs.tensors[place.id]!;
      const other = theirs.get(tap);
      if (other?.type !== type || other.axes?.join() !== axes.join())
        throw badGraft(
          `the tap in the other recording, of ${type}`,
          other === undefined ? 'none' : `one of ${other.type} or with other axes`,
          tap,
        );
      this.#add(place, async () => {
        const { data, shape: sizes } = await dump.read(tap, { step: place.step });
        if (withoutOnes(sizes) !== withoutOnes(shape))
          throw badGraft(`${shape.join(' x ')} at step ${place.step}`, sizes.join(' x '), tap);
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      });
    }
  }

  #add({ step, id, planned }: Place, bytes: Graft['bytes']): void {
    const grafts = this.#byStep.get(step) ?? new Map<number, Graft>();
    this.#byStep.set(step, grafts);
    grafts.set(id, { id, planned, bytes });
  }

  /** Nodes that compute whose tap, or a view of which, has such a name. */
  #places(matches: (name: string) => boolean): Place[] {
    const { tensors, graphs } = this.#graphs;
    const places = new Map<number, Place>();
    for (const [step, { nodes }] of graphs.entries())
      for (const id of nodes) {
        const tensor = tensors[id]!;
        const owner = tensor.kind === 'view' ? tensor.viewSrc : id;
        const planned = owner === undefined ? undefined : this.#plan.values.get(owner);
        if (planned === undefined || tensors[owner!]!.kind !== 'node') continue;
        if (matches(tensor.kind === 'view' ? tensor.name : planned.tap))
          places.set(owner!, { step, id: owner!, planned });
      }
    return [...places.values()];
  }
}

interface Place {
  step: number;
  id: number;
  planned: PlannedValue;
}

/** Axes of size 1 may be there or not. */
function withoutOnes(shape: readonly number[]): string {
  return shape.filter((size) => size !== 1).join(' x ');
}

function badGraft(expected: string, got: string, tap: string): ZayascopeError {
  return badArgument(OP, expected, got, tap);
}
