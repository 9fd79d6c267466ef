/** A recording opened for running its nodes again: dump, graph, weights, a device. */
import { type DumpGraph, type GraphTensor, readGraph } from '../../dump/graph-file.js';
import { Dump } from '../../dump/reader.js';
import { badArgument, unmet } from '../../errors.js';
import { openGgufFile } from '../../models/layout/source.js';
import { weightsSha256 } from '../../weights/identity.js';
import { isNotRun } from '../quiet-ops.js';
import { valueSizes } from '../record/recorded-graph.js';
import { unrecordedNodes } from './recorded-nodes.js';
import { loadedWeights, NO_WEIGHTS, storedWeights, type WeightValues } from './weight-values.js';

/** Weights by name, and their identity; none of a recording that reads none. */
export interface RecordedWeights {
  stored: WeightValues;
  sha256: string | undefined;
}

/** A dump with its graph. */
export class Recording implements AsyncDisposable {
  readonly dump: Dump;
  readonly graph: DumpGraph;
  /** Nodes that cannot be run again, by id, with what was not recorded. */
  readonly unrecorded: ReadonlyMap<number, string>;
  readonly #blocks: ReadonlyMap<string, number | null>;

  private constructor(dump: Dump, graph: DumpGraph, unrecorded: ReadonlyMap<number, string>) {
    this.unrecorded = unrecorded;
    this.dump = dump;
    this.graph = graph;
    this.#blocks = new Map(dump.taps.map(({ name, block }) => [name, block]));
  }

  /** @throws `BAD_DUMP` for a dump without a graph or with one that does not fit its taps, `IO`. */
  static async open(op: string, folder: string): Promise<Recording> {
    const dump = await Dump.open(folder);
    try {
      if (dump.manifest.graph === undefined)
        throw unmet('BAD_DUMP', op, 'a recording, which has a graph', 'a dump without one', {
          where: folder,
        });
      if (dump.manifest.tier !== 'full')
        throw unmet(
          'BAD_DUMP',
          op,
          'a recording of tier full',
          `one of tier ${dump.manifest.tier}, which holds no values`,
          { where: folder },
        );
      const graph = await readGraph(folder, new Set(dump.taps.map(({ name }) => name)));
      const recording = new Recording(dump, graph, await unrecordedNodes(dump, graph));
      recording.#check(op, folder);
      return recording;
    } catch (error) {
      await dump[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Every value that was recorded is a node's or an input's, each node runs once, and there are some. */
  #check(op: string, folder: string): void {
    const { tensors, graphs } = this.graph;
    const refuse = (expected: string, got: string): never => {
      throw unmet('BAD_DUMP', op, expected, got, { where: folder });
    };
    const ran = new Set<number>();
    for (const { nodes } of graphs)
      for (const id of nodes) {
        if (ran.has(id)) refuse('a graph in which each node runs once', `${tensors[id]!.name} twice`);
        ran.add(id);
      }
    const known = new Set<string | undefined>();
    for (const { id, op: name, src, tap } of tensors) {
      if (name === 'NONE' && src.some((source) => source !== null))
        refuse('an op for each node with sources', `NONE for ${tensors[id]!.name}`);
      if (ran.has(id) || (name === 'NONE' && src.length === 0)) known.add(tap);
    }
    const lost = this.dump.taps.find(({ name }) => !known.has(name));
    if (lost !== undefined) refuse('a node for each value that was recorded', `none for ${lost.name}`);
    if (this.nodeCount === 0 && this.unrecorded.size === 0) refuse('nodes that compute', 'none');
  }

  /**
   * The nodes that can be run again, in the order in which they ran: no views, none without elements, none
   * that was not recorded.
   */
  get runnable(): number[] {
    return this.graph.graphs.flatMap(({ nodes }) => nodes.filter((id) => this.#canRun(id)));
  }

  get nodeCount(): number {
    return this.runnable.length;
  }

  #canRun(id: number): boolean {
    return this.computes(id) && !this.unrecorded.has(id);
  }

  computes(id: number): boolean {
    const node = this.graph.tensors[id]!;
    return !isNotRun(node.op) && !valueSizes(node, this.graph.tensors).includes(0);
  }

  /**
   * The weights that its graph reads.
   * @param model GGUF file, or of a run of our own the model; may be left out where it reads none.
   * @throws `BAD_ARGUMENT` where it reads some, and no file is given; `IO`, `BAD_CHECKPOINT`.
   */
  async weights(op: string, model: string | undefined): Promise<RecordedWeights> {
    if (model !== undefined && this.#isOwn) return loadedWeights(model, this.dump.manifest.policy);
    if (model !== undefined) {
      const { stored } = await openGgufFile(model);
      return { stored: storedWeights(stored), sha256: await weightsSha256(stored) };
    }
    const count = this.graph.tensors.filter(({ weight }) => weight !== undefined).length;
    if (count > 0)
      throw badArgument(
        op,
        `--model with the ${this.#isOwn ? 'model' : 'GGUF file'} that ran, of which the graph reads ${count} weights`,
        'none',
      );
    return { stored: NO_WEIGHTS, sha256: undefined };
  }

  /**
   * The weights of the file that ran.
   * @throws as {@link weights}, and `UNPAIRED` for the file of another run.
   */
  async ownWeights(op: string, model: string | undefined): Promise<RecordedWeights['stored']> {
    const { stored, sha256 } = await this.weights(op, model);
    const { name, weightsSha256: ran } = this.dump.manifest.model;
    if (ran !== undefined && sha256 !== undefined && sha256 !== ran)
      throw unmet(
        'UNPAIRED',
        op,
        `the model that ran, ${name} with weights ${ran.slice(0, 12)}`,
        `weights ${sha256.slice(0, 12)}`,
        { where: model },
      );
    return stored;
  }

  /** The nodes that cannot be run again, in the order in which they ran. */
  get leftOut(): { name: string; op: string; step: number; reason: string }[] {
    return this.graph.graphs.flatMap(({ step, nodes }) =>
      nodes.flatMap((id) => {
        const { tap, name, op } = this.graph.tensors[id]!;
        const reason = this.unrecorded.get(id);
        return reason === undefined || !this.computes(id) ? [] : [{ name: tap ?? name, op, step, reason }];
      }),
    );
  }

  /** A run of our own models, whose weights the policy may have converted. */
  get #isOwn(): boolean {
    return this.dump.manifest.model.config !== undefined;
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
