import { type Policy, parametersSite } from '../../graph/policy.js';
import type { ModelSource } from '../../models/layout/source.js';
import { allocateCache } from '../../models/runtime/cache.js';
import { weightSite } from '../../models/runtime/loader.js';
import { type Model, type OpenModelOptions, openModel } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { planModel } from '../../models/runtime/plan.js';
import { requiredTensors } from '../../models/runtime/weights.js';
import type { Runner } from '../replay/replay.js';

/**
 * Runs one checkpoint under several policies. Weights are loaded again only where two policies keep the
 * matrices in different dtypes; as many sets are in memory as are allowed.
 */
export class PolicyRunners implements Disposable {
  readonly source: ModelSource;
  readonly #options: Omit<OpenModelOptions, 'policy'>;
  readonly #most: number;
  /** By {@link matrices}, the one used last at the end. */
  readonly #loaded = new Map<string, Model>();

  /** @param most sets of weights in memory at a time. */
  constructor(source: ModelSource, options: Omit<OpenModelOptions, 'policy'> = {}, most = 1) {
    this.source = source;
    this.#options = options;
    this.#most = most;
  }

  /** The model under a policy, valid until the next call. Throws as `openModel`. */
  async use(policy: Policy): Promise<Runner> {
    const known = this.model === undefined ? undefined : matrices(this.model, policy);
    let model = known === undefined ? undefined : this.#loaded.get(known);
    if (model === undefined) {
      for (const [key, oldest] of this.#loaded) {
        if (this.#loaded.size < this.#most) break;
        this.#loaded.delete(key);
        oldest.close();
      }
      model = await openModel(this.source, { ...this.#options, policy });
    }
    const key = known ?? matrices(model, policy);
    this.#loaded.delete(key);
    this.#loaded.set(key, model);
    const { config, backend, weights } = model;
    return {
      config,
      backend,
      plan: (options) => planModel(weights, backend, policy, options),
      cache: (capacity) => allocateCache(weights, backend, settingOf(policy, config), 1, capacity),
    };
  }

  /** The model used last; undefined before the first {@link use}. */
  get model(): Model | undefined {
    return [...this.#loaded.values()].at(-1);
  }

  close(): void {
    for (const model of this.#loaded.values()) model.close();
    this.#loaded.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** In which dtype a policy keeps each matrix, and to which it rounds each weight. */
function matrices({ config }: Model, policy: Policy): string {
  const setting = settingOf(policy, config);
  return requiredTensors(config)
    .map(({ name, role }) => {
      const isMatrix = role === 'matmul' || role === 'embedding';
      return `${isMatrix ? setting(weightSite(name)) : ''} ${setting(parametersSite(name))}`;
    })
    .join();
}
