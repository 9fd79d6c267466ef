/**
 * A noise run in half precision beside a program in single precision: it rounds what the program does not.
 * Its errors are no noise of those ops, or an op that rounds by mistake would hide among them.
 */
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { tapSpan } from '../../replay/tap-graph.js';
import type { LocalError } from '../local.js';
import { LIMIT_FACTOR, UNMEASURED_LIMIT } from '../ops.js';
import type { HalfDtype } from './rounding.js';

/** What the noise run tells of an op: what it errs there, nothing, or no more than F32 does in any order. */
export type NoiseUse = 'all' | 'nothing' | 'single';

/** From this share of elements on an op rounds its output alone, which is right. */
const ROUNDS_ONCE = 0.999;
/** Own error that F32 arithmetic may leave in a program that is not known, as a floor. */
export const SINGLE_FLOOR = UNMEASURED_LIMIT / LIMIT_FACTOR;

/** The two programs of {@link noiseUse}. */
export interface NoisePrograms {
  /** Own errors of the tested ops. */
  local: ReadonlyMap<string, LocalError>;
  /** The half precision that each rounds to; null: none. */
  tested: HalfDtype | null;
  noise: HalfDtype | null;
  /** True where the tested dump's manifest says that its program computes in F32. */
  isKnown: boolean;
  config: ModelConfig;
}

/**
 * What to take from a noise run, by op. Nothing changes unless it is in half precision and the tested program
 * is not. Of a program that is known to compute in F32 it tells nothing. A program that is not known may have
 * half precision in its products, whose operands a device may round (BF16 weights, TF32, an F16 cache), in
 * values that it rounds as a whole, and in a table of F16 that it reads; its other ops compute in F32.
 */
export function noiseUse({
  local,
  tested,
  noise,
  isKnown,
  config,
}: NoisePrograms): (tap: string) => NoiseUse {
  if (noise === null || tested !== null) return () => 'all';
  if (isKnown) return () => 'nothing';
  const hasProduct = productSpans(local.keys(), config);
  return (tap) => {
    const { precision, roundedOnce } = local.get(tap)!;
    return hasProduct(tap) || precision === 'F16' || roundedOnce >= ROUNDS_ONCE ? 'all' : 'single';
  };
}

/** True for values between which and the held values before them something sums products. */
export function productSpans(names: Iterable<string>, config: ModelConfig): (tap: string) => boolean {
  const { multiplied } = traceModel(config);
  const held = new Set(names);
  return (tap) =>
    tapSpan(tap, config.num_hidden_layers, held, false, config.model_type).inside.some((name) =>
      multiplied.has(name),
    );
}

/** What to tell of a noise run that is coarser than the tested program. */
export function coarserNote(tested: string, noise: string, dtype: HalfDtype, isKnown: boolean): string {
  const what = isKnown ? 'its ops' : 'its ops other than products';
  return `${noise} rounds to ${dtype}, ${tested} computes in F32: ${what} may not err as much.`;
}
