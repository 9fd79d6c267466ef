import { type Backend, openBackend } from '../../graph/backend.js';
import { loadPolicy, type Policy } from '../../graph/policy.js';
import type { ModelSource } from '../layout/source.js';
import type { ModelConfig } from './architecture.js';
import { allocateCache, type ModelCache } from './cache.js';
import { loadWeights, type ModelWeights } from './loader.js';
import { modelPolicy, settingOf } from './model-policy.js';
import { type ModelPlan, type PlanOptions, planModel } from './plan.js';
import { ModelSession, type SessionOptions } from './session.js';

/** Options of {@link openModel}. */
export interface OpenModelOptions {
  /** A preset's name, a `.json` file or a policy. Default `f32`. */
  policy?: string | Policy;
  /** Backend or device name, as in {@link openBackend}. Default `cpu`. */
  backend?: string;
  /**
   * CPU threads; default: all, but 1 for weights below 64 MB, where waiting for each other takes longer than
   * the work.
   */
  threads?: number;
  /**
   * Multiply F32 as F32 on devices that would round the operands to F16; a process has one choice per kind of
   * device. Default false; the CPU always does.
   */
  strictF32?: boolean;
  /**
   * Let a device compute neighbouring nodes in one kernel; a process has one choice per kind of device.
   * Default true, false on `lavapipe`.
   */
  fusion?: boolean;
  /** Rearrange matmul weights for speed: see `LoadOptions.repack`. Default false. */
  repack?: boolean;
}

const SMALL_BYTES = 64e6;

/** A loaded model. Close it when done: weights live outside the JavaScript heap. */
export interface Model<C extends ModelConfig = ModelConfig> extends Disposable {
  readonly config: C;
  readonly policy: Policy;
  readonly backend: Backend;
  readonly weights: ModelWeights;
  /** Compiles forward calls of fixed sizes. Close the plan when done. */
  plan(options: PlanOptions): ModelPlan;
  /**
   * An empty cache of one sequence for plans that continue it; `capacity` positions fit. Close it after the
   * plans.
   */
  cache(capacity: number): ModelCache;
  /**
   * Runs one sequence from its start to its end and gives the logits of all of its tokens, F32 [T, V]. Throws
   * `BAD_ARGUMENT` for ids outside the vocabulary.
   */
  prefill(tokens: readonly number[]): Promise<Float32Array>;
  /**
   * Opens sequences that grow call by call: chunked prefill, decode, batches. Close the session before the
   * model.
   */
  session(options?: SessionOptions): ModelSession;
  close(): void;
}

/**
 * Loads a model onto a device.
 *
 * @param model a folder in the transformers or legacy layout, or a GGUF file; or what `openModelSource` has
 * opened, whose headers are not read again.
 * @throws `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR`, `IO` for the model; `BACKEND` for the device;
 * `BAD_ARGUMENT` for an unknown policy or one with rules that match nothing in the model.
 */
export async function openModel(model: string | ModelSource, options: OpenModelOptions = {}): Promise<Model> {
  const policy =
    typeof options.policy === 'object' ? options.policy : await loadPolicy(options.policy ?? 'f32');
  const { threads, strictF32, fusion } = options;
  const backend = openBackend(options.backend, { threads, strictF32, fusion });
  let weights: ModelWeights;
  try {
    weights = await loadWeights(model, backend, policy, { repack: options.repack ?? false });
  } catch (error) {
    backend.close();
    throw error;
  }
  const used = modelPolicy(policy, weights.config);
  if (threads === undefined && weights.allocatedBytes + weights.mappedBytes < SMALL_BYTES)
    backend.setThreads(1);
  const plan = (sizes: PlanOptions) => planModel(weights, backend, used, sizes);
  const close = () => {
    weights.close();
    backend.close();
  };
  return {
    config: weights.config,
    policy: used,
    backend,
    weights,
    plan,
    cache: (capacity) => allocateCache(weights, backend, settingOf(used, weights.config), 1, capacity),
    async prefill(tokens) {
      using prepared = plan({ tokens: tokens.length });
      return await prepared.run(tokens);
    },
    session: (sizes) => new ModelSession(weights, backend, used, sizes),
    close,
    [Symbol.dispose]: close,
  };
}
