/** A recording opened for running its nodes again: dump, graph, weights, a device. */
import { type DumpGraph, type GraphTensor, readGraph } from '../../dump/graph-file.js';
import { Dump } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';
import { valueSizes } from '../record/recorded-graph.js';

/** Ops that compute nothing. */
const VIEWS: ReadonlySet<string> = new Set(['NONE', 'VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE']);

/** A dump with its graph. */
export class Recording implements AsyncDisposable {
  readonly dump: Dump;
  readonly graph: DumpGraph;
  readonly #blocks: ReadonlyMap<string, number | null>;

  private constructor(dump: Dump, graph: DumpGraph) {
    this.dump = dump;
    this.graph = graph;
    this.#blocks = new Map(dump.taps.map(({ name, block }) => [name, block]));
  }

  /** @throws `BAD_DUMP` for a dump without a graph or with one that does not fit its taps, `IO`. */
  static async open(op: string, folder: string): Promise<Recording> {
    const dump = await Dump.open(folder);
    try {
      if (dump.manifest.graph === undefined)
        throw new ZayascopeError(
          'BAD_DUMP',
          `${op}: expected a recording, which has a graph, got a dump without one (${folder})`,
          { op },
        );
      return new Recording(dump, await readGraph(folder, new Set(dump.taps.map(({ name }) => name))));
    } catch (error) {
      await dump[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Nodes that compute: no views, and none without elements. */
  get nodeCount(): number {
    return this.graph.graphs.reduce(
      (sum, { nodes }) => sum + nodes.filter((id) => this.computes(id)).length,
      0,
    );
  }

  computes(id: number): boolean {
    const node = this.graph.tensors[id]!;
    return !VIEWS.has(node.op) && !valueSizes(node, this.graph.tensors).includes(0);
  }

  blockOf({ tap }: GraphTensor): number | null {
    return tap === undefined ? null : (this.#blocks.get(tap) ?? null);
  }

  /** Threads of the CPU that ran it, where it says. */
  get threads(): number | undefined {
    const { threads } = this.dump.manifest.backend;
    return typeof threads === 'number' ? threads : undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dump[Symbol.asyncDispose]();
  }
}

/** Whether a folder is a dump with a graph. @throws what opening a dump throws. */
export async function isRecording(folder: string): Promise<boolean> {
  await using dump = await Dump.open(folder);
  return dump.manifest.graph !== undefined;
}
