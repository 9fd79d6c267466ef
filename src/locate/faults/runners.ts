import { type Policy, parametersSite, resolvePolicy } from '../../graph/policy.js';
import { allocateCache } from '../../models/zaya/cache.js';
import { weightSite } from '../../models/zaya/loader.js';
import { type OpenZayaOptions, openZaya, type ZayaModel } from '../../models/zaya/model.js';
import { planZaya } from '../../models/zaya/plan.js';
import { requiredTensors } from '../../models/zaya/weights.js';
import type { Runner } from '../replay/replay.js';

/** Runs one checkpoint under several policies. Weights are loaded again only where two policies keep the matrices in different dtypes; one set is in memory at a time. */
export class PolicyRunners implements Disposable {
  readonly #folder: string;
  readonly #options: Omit<OpenZayaOptions, 'policy'>;
  #loaded: { model: ZayaModel; matrices: string } | undefined;

  constructor(folder: string, options: Omit<OpenZayaOptions, 'policy'> = {}) {
    this.#folder = folder;
    this.#options = options;
  }

  /** The model under a policy, valid until the next call. Throws as `openZaya`. */
  async use(policy: Policy): Promise<Runner> {
    if (this.#loaded === undefined || this.#loaded.matrices !== matrices(this.#loaded.model, policy)) {
      this.close();
      const model = await openZaya(this.#folder, { ...this.#options, policy });
      this.#loaded = { model, matrices: matrices(model, policy) };
    }
    const { config, backend, weights } = this.#loaded.model;
    return {
      config,
      backend,
      plan: (options) => planZaya(weights, backend, policy, options),
      cache: (capacity) => allocateCache(weights, backend, resolvePolicy(policy), 1, capacity),
    };
  }

  /** The loaded model; undefined before the first {@link use}. */
  get model(): ZayaModel | undefined {
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
function matrices({ config }: ZayaModel, policy: Policy): string {
  const setting = resolvePolicy(policy);
  return requiredTensors(config)
    .map(({ name, role }) => {
      const isMatrix = role === 'matmul' || role === 'embedding';
      return `${isMatrix ? setting(weightSite(name)) : ''} ${setting(parametersSite(name))}`;
    })
    .join();
}
