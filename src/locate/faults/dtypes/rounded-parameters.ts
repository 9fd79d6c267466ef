/**
 * A program that computes in F32 with parameters in half precision: told by its norms, affines and embedding,
 * whose weights no file of quantised matrices rounds.
 */
import type { DumpView } from '../../../dump/dump-view.js';
import type { Policy } from '../../../graph/policy.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { type LocalOptions, localErrors } from '../local.js';
import { label } from '../notes.js';
import { LIMIT_FACTOR, UNMEASURED_LIMIT } from '../ops.js';
import type { OwnErrors } from '../own-errors.js';
import type { PolicyRunners } from '../runners.js';

/** Share of those ops that must fail, and of the failing that rounded parameters must explain. */
const MOST = 0.5;
/** An op is explained where the energy of its error falls to this share. */
const EXPLAINS = 0.01;

/** Parameters that explain what those ops err. */
export interface RoundedParameters {
  /** `base` with parameters rounded. */
  policy: Policy;
  dtype: 'BF16' | 'F16';
  note: string;
}

/**
 * Tries BF16 and F16. Null where hardly an op with weights fails that is no product, or neither explains it.
 */
export async function findRoundedParameters(
  runners: PolicyRunners,
  tested: DumpView,
  base: Policy,
  own: Pick<OwnErrors, 'local' | 'floors'>,
  options: Pick<LocalOptions, 'holds' | 'signal' | 'onProgress'>,
): Promise<RoundedParameters | null> {
  const { weighted, multiplied } = traceModel(runners.model!.config);
  const ops = [...own.local.values()].filter(
    ({ tap }) => weighted.has(tap.name) && !multiplied.has(tap.name),
  );
  const failing = ops.filter(
    ({ tap, nmse }) => nmse > Math.max(UNMEASURED_LIMIT, LIMIT_FACTOR * Math.max(0, ...own.floors(tap.name))),
  );
  if (failing.length === 0 || failing.length < MOST * ops.length) return null;
  for (const dtype of ['BF16', 'F16'] as const) {
    const policy: Policy = {
      name: base.name === 'f32' ? `parameters in ${dtype}` : `${base.name}, parameters in ${dtype}`,
      description: `${base.name}; weights rounded to ${dtype} as they are loaded`,
      rules: [...base.rules, { sites: '**#parameters', set: dtype }],
    };
    const local = await localErrors(await runners.use(policy), tested, { right: 'computed', ...options });
    const explained = failing.filter(({ tap, nmse }) => local.get(tap.name)!.nmse < EXPLAINS * nmse);
    if (explained.length < MOST * failing.length) continue;
    const worst = explained.reduce((a, b) => (b.nmse > a.nmse ? b : a));
    const left = local.get(worst.tap.name)!.nmse;
    const fall = `${worst.tap.name}: ${worst.nmse.toExponential(1)} becomes ${left === 0 ? '0' : left.toExponential(1)}`;
    const note = `${label(tested)} has its weights in ${dtype}, and computes with them in F32: recomputed so, the errors of ${explained.length} of ${failing.length} ops with weights that are no products go away (${fall}). All that follows is judged so.`;
    return { policy, dtype, note };
  }
  return null;
}
