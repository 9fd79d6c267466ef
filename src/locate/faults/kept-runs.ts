import type { ModelSource } from '../../models/layout/source.js';
import type { OpenModelOptions } from '../../models/runtime/model.js';
import type { LocalError } from './local.js';
import { PolicyRunners } from './runners.js';

/** Sets of weights of a model that stay loaded. */
const MOST_WEIGHTS = 4;

/**
 * What calls of `locateDumps` have in common, kept from one to the next for callers that judge many dumps:
 * loaded weights (of each model up to four sets, as policies want them), and what reference and noise err.
 * Dumps and models must stay what they are, and all calls must have the same `OpenModelOptions`; calls must
 * not overlap. Close it when done: weights live outside the JavaScript heap.
 */
export class KeptRuns implements Disposable {
  /** Own errors of dumps that count as right, by what was measured. */
  readonly errors = new Map<string, ReadonlyMap<string, LocalError>>();
  readonly #runners = new Map<string, PolicyRunners>();

  /** The runners of a model, opened where they are not yet. */
  runners(source: ModelSource, options: Omit<OpenModelOptions, 'policy'>): PolicyRunners {
    const known = this.#runners.get(source.path) ?? new PolicyRunners(source, options, MOST_WEIGHTS);
    this.#runners.set(source.path, known);
    return known;
  }

  close(): void {
    for (const runners of this.#runners.values()) runners.close();
    this.#runners.clear();
    this.errors.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
