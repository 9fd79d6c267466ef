import { type Policy, parametersSite } from '../../graph/policy.js';
import { allocateCache } from '../../models/runtime/cache.js';
import { weightSite } from '../../models/runtime/loader.js';
import { type Model, type OpenModelOptions, openModel } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { planModel } from '../../models/runtime/plan.js';
import { requiredTensors } from '../../models/runtime/weights.js';
import type { Runner } from '../replay/replay.js';

/**
 * Runs one checkpoint under several policies. Weights are loaded again only where two policies keep the
 * matrices in different dtypes; one set is in memory at a time.
 */
export class PolicyRunners implements Disposable {
  /** Folder or file of the checkpoint. */
  readonly folder: string;
  readonly #options: Omit<OpenModelOptions, 'policy'>;
  #loaded: { model: Model; matrices: string } | undefined;

  constructor(folder: string, options: Omit<OpenModelOptions, 'policy'> = {}) {
    this.folder = folder;
    this.#options = options;
  }

  /** The model under a policy, valid until the next call. Throws as `openModel`. */
  async use(policy: Policy): Promise<Runner> {
    if (this.#loaded === undefined || this.#loaded.matrices !== matrices(this.#loaded.model, policy)) {
      this.close();
      const model = await openModel(this.folder, { ...this.#options, policy });
      this.#loaded = { model, matrices: matrices(model, policy) };
    }
    const { config, backend, weights } = this.#loaded.model;
    return {
      config,
      backend,
      plan: (options) => planModel(weights, backend, policy, options),
      cache: (capacity) => allocateCache(weights, backend, settingOf(policy, config), 1, capacity),
    };
  }

  /** The loaded model; undefined before the first {@link use}. */
  get model(): Model | undefined {
    return this.#loaded?.model;
  }

  close(): void {
    this.#loaded?.model.close();
    this.#loaded = undefined;
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
