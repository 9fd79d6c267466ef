import { type Backend, openBackend } from '../graph/backend.js';
import { type Policy, policy as presetPolicy } from '../graph/policy.js';
import { NO_TAPS, type Taps } from './tap.js';
import type { ZayaConfig } from './zaya-config.js';
import { loadZayaWeights, type ZayaWeights } from './zaya-loader.js';
import { planZaya, type ZayaPlan } from './zaya-plan.js';

/** Options of {@link openZaya}. */
export interface OpenZayaOptions {
  /** A preset's name or a policy. Default `f32`. */
  policy?: string | Policy;
  /** Backend or device name, as in {@link openBackend}. Default `cpu`. */
  backend?: string;
  /** CPU threads; default: all. */
  threads?: number;
}

/** A loaded model. Close it when done: weights live outside the JavaScript heap. */
export interface ZayaModel extends Disposable {
  readonly config: ZayaConfig;
  readonly policy: Policy;
  readonly backend: Backend;
  readonly weights: ZayaWeights;
  /** Compiles a prefill of `tokens` tokens with the values that `taps` wants readable. Close the plan when done. */
  plan(tokens: number, taps?: Taps): ZayaPlan;
  /** Runs one sequence from its start and gives the logits of its last token, F32 [V]. Throws `BAD_ARGUMENT` for ids outside the vocabulary. */
  prefill(tokens: readonly number[]): Promise<Float32Array>;
  close(): void;
}

/**
 * Loads a model folder in the transformers layout onto a device.
 *
 * @throws `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR`, `IO` for the folder; `BACKEND` for the device; `BAD_ARGUMENT` for an unknown policy.
 */
export async function openZaya(folder: string, options: OpenZayaOptions = {}): Promise<ZayaModel> {
  const policy = typeof options.policy === 'object' ? options.policy : presetPolicy(options.policy ?? 'f32');
  const backend = openBackend(
    options.backend,
    options.threads === undefined ? {} : { threads: options.threads },
  );
  let weights: ZayaWeights;
  try {
    weights = await loadZayaWeights(folder, backend, policy);
  } catch (error) {
    backend.close();
    throw error;
  }
  const plan = (tokens: number, taps: Taps = NO_TAPS) => planZaya(weights, backend, policy, tokens, taps);
  const close = () => {
    weights.close();
    backend.close();
  };
  return {
    config: weights.config,
    policy,
    backend,
    weights,
    plan,
    async prefill(tokens) {
      using prepared = plan(tokens.length);
      return await prepared.run(tokens);
    },
    close,
    [Symbol.dispose]: close,
  };
}
