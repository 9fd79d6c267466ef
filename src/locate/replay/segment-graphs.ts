import type { Backend } from '../../graph/backend.js';
import { type CompiledGraph, type CompiledGraphs, compileGraphs } from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import type { Setting } from '../../graph/policy.js';
import { RecentlyUsed } from './recently-used.js';

/**
 * Compiled segments of a model, one for each combination of choices that was asked for; those used longest
 * ago are freed.
 */
export class SegmentGraphs implements Disposable {
  readonly #backend: Backend;
  readonly #build: (segment: number, setting: Setting) => Graph;
  readonly #compiled: RecentlyUsed<CompiledGraphs>;

  /** @param budgetBytes device memory that the compiled segments may take. */
  constructor(backend: Backend, budgetBytes: number, build: (segment: number, setting: Setting) => Graph) {
    this.#backend = backend;
    this.#build = build;
    this.#compiled = new RecentlyUsed(
      budgetBytes,
      ({ sizeBytes }) => sizeBytes,
      (graphs) => graphs.close(),
    );
  }

  /**
   * The graph of a segment, valid until the next call. `choices` is all that the segment takes from
   * `setting`.
   */
  get(segment: number, choices: string, setting: Setting): CompiledGraph {
    const key = `${segment} ${choices}`;
    let graphs = this.#compiled.get(key);
    if (graphs === undefined) {
      graphs = compileGraphs(this.#backend, [this.#build(segment, setting)]);
      this.#compiled.set(key, graphs);
    }
    return graphs.graphs[0]!;
  }

  close(): void {
    this.#compiled.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
