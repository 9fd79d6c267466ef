/**
 * Which run was it? A port computes products with weights as its file stores them, and activations rounded to
 * match: told from the dump alone.
 */
import type { DumpView } from '../../../dump/dump-view.js';
import type { Policy } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { type LocalError, type LocalOptions, localErrors } from '../local.js';
import { label } from '../notes.js';
import { LIMIT_FACTOR, UNMEASURED_LIMIT } from '../ops.js';
import type { OwnErrors } from '../own-errors.js';
import type { PolicyRunners } from '../runners.js';

/** Likeliest first. */
const TYPES = ['bf16', 'q8_0', 'f16', 'q6_k', 'q5_k_m', 'q4_k_m', 'q4_0'] as const;
/** Share of the products that fail, and of those that a type must explain. */
const MOST = 0.5;
/** A product is explained where the energy of its error falls to this share. */
const EXPLAINS = 0.01;

/** A type that explains the errors of products. */
export interface StoredType {
  type: string;
  /** The policy that the dump was recomputed with, and these weights. */
  policy: Policy;
  /** What to tell. */
  note: string;
}

/** `base` with matrices as a GGUF file of the type stores them. */
export function withStoredType(base: Policy, type: string): Policy {
  return {
    name: base.name === 'f32' ? `weights as ${type}` : `${base.name}, weights as ${type}`,
    description: `${base.name}; matrices as a ${type} file stores them`,
    rules: [...base.rules, { sites: '**#weight', set: type }],
  };
}

/**
 * Tries whether products that fail under `base` are right with weights and activations as a GGUF type stores
 * them. Null where fewer than half of the products fail, or no type takes the error of half of those away.
 */
export async function findStoredType(
  runners: PolicyRunners,
  tested: DumpView,
  base: Policy,
  own: Pick<OwnErrors, 'local' | 'floors'>,
  options: Pick<LocalOptions, 'holds' | 'signal' | 'onProgress'>,
): Promise<StoredType | null> {
  const isProduct = storedProducts(runners.model!.config);
  const products = [...own.local.values()].filter(({ tap }) => isProduct(tap.name));
  const fails = ({ tap, nmse }: LocalError) =>
    nmse > Math.max(UNMEASURED_LIMIT, LIMIT_FACTOR * Math.max(0, ...own.floors(tap.name)));
  const failing = products.filter(fails);
  if (failing.length === 0 || failing.length < MOST * products.length) return null;
  for (const type of TYPES) {
    const policy = withStoredType(base, type);
    const local = await localErrors(await runners.use(policy), tested, { right: 'computed', ...options });
    const after = (error: LocalError) => local.get(error.tap.name)!.nmse;
    const explained = failing.filter((error) => after(error) < EXPLAINS * error.nmse);
    if (explained.length < MOST * failing.length) continue;
    const worst = explained.reduce((a, b) => (b.nmse > a.nmse ? b : a));
    const left = after(worst);
    return {
      type,
      policy,
      note: `${label(tested)} multiplied with weights as a ${type} file stores them: recomputed so, the errors of ${explained.length} of ${failing.length} products go away (${worst.tap.name}: ${worst.nmse.toExponential(1)} becomes ${left === 0 ? '0' : left.toExponential(1)}). All that follows is judged so; with the GGUF that ran as --model, its own types are used.`,
    };
  }
  return null;
}

/** Values that are products with a weight which such files hold in their type; a router's stay F32. */
export function storedProducts(config: ModelConfig): (tap: string) => boolean {
  const { products, weights } = traceModel(config);
  const roles = new Map(weights.map((tensor) => [tensor.name, tensor]));
  const { quantClass } = architectureOf(config);
  return (tap) =>
    products.get(tap)?.some((name) => quantClass(roles.get(name)!, config) !== 'exact') ?? false;
}
