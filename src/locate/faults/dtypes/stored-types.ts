/**
 * Which run was it? A port computes products with weights as its file stores them, and activations rounded to
 * match: told from the dump alone.
 */
import { basename, resolve } from 'node:path';
import type { DumpView } from '../../../dump/dump-view.js';
import { type Policy, policy as presetPolicy } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { requiredTensors } from '../../../models/runtime/weights.js';
import { tapSpan } from '../../replay/tap-graph.js';
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
  /** True where that says that the GGUF file given is not the one that ran. */
  isOtherFile: boolean;
}

/** What the errors of products say of the weights. */
export interface ProductErrors {
  /** The type that explains them; null: none does. */
  stored: StoredType | null;
  /**
   * Set where none does, and yet other weights ran: nearly all products fail, and so do the embedding's rows,
   * which nothing rounds, or products by more than another order of sums or activations of 8 bits leaves.
   */
  otherWeights: string | null;
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
 * them. Nothing is said where fewer than half of the products fail.
 */
export async function findStoredType(
  runners: PolicyRunners,
  tested: DumpView,
  base: Policy,
  own: Pick<OwnErrors, 'local' | 'floors'>,
  options: Pick<LocalOptions, 'holds' | 'signal' | 'onProgress'>,
): Promise<ProductErrors> {
  const isProduct = storedProducts(runners.model!.config);
  const products = [...own.local.values()].filter(({ tap }) => isProduct(tap.name));
  const fails = ({ tap, nmse }: LocalError) =>
    nmse > Math.max(UNMEASURED_LIMIT, LIMIT_FACTOR * Math.max(0, ...own.floors(tap.name)));
  const failing = products.filter(fails);
  const nothing = { stored: null, otherWeights: null };
  if (failing.length === 0 || failing.length < MOST * products.length) return nothing;
  const file = fileOf(runners);
  for (const type of triedTypes(file, base)) {
    const policy = type === PLAIN ? presetPolicy('f32') : withStoredType(base, type);
    const local = await localErrors(await runners.use(policy), tested, { right: 'computed', ...options });
    const after = (error: LocalError) => local.get(error.tap.name)!.nmse;
    const explained = failing.filter((error) => after(error) < EXPLAINS * error.nmse);
    if (explained.length < MOST * failing.length) continue;
    const worst = explained.reduce((a, b) => (b.nmse > a.nmse ? b : a));
    const left = after(worst);
    const fall = `the errors of ${explained.length} of ${failing.length} products go away (${worst.tap.name}: ${worst.nmse.toExponential(1)} becomes ${left === 0 ? '0' : left.toExponential(1)})`;
    if (file.isGguf) {
      const note = `${label(tested)} was not computed with ${file.name} as it stores its weights (${file.dtypes}): with ${type === PLAIN ? 'products in F32' : `weights as a ${type} file stores them`} ${fall}. The type that fits is ${type}: pass the GGUF that ran as --model. All that follows is judged so.`;
      return { stored: { type, policy, note, isOtherFile: true }, otherWeights: null };
    }
    const stored = {
      type,
      policy,
      isOtherFile: false,
      note: `${label(tested)} multiplied with weights as a ${type} file stores them: recomputed so, ${fall}. All that follows is judged so; with the GGUF that ran as --model, its own types are used.`,
    };
    return { stored, otherWeights: null };
  }
  const embedding = traceModel(runners.model!.config).taps[0]!.name;
  const rows = own.local.get(embedding);
  // Where a dump holds few values, many ops lie in front of a product, and any of them may have made its
  // error.
  const alone = products.filter(standsAlone(runners.model!.config, new Set(own.local.keys())));
  const wrongAlone = alone.filter(fails);
  // A file mixes types, of which some may be those of the file that ran.
  const types = new Map<string, LocalError[]>();
  for (const each of alone) {
    const dtype = file.dtypeOf(each.tap.name);
    types.set(dtype, [...(types.get(dtype) ?? []), each]);
  }
  const wrong = [...types.values()].filter((all) => all.filter(fails).length >= NEARLY_ALL * all.length);
  const isOther =
    wrongAlone.length > 0 &&
    wrong.flat().length >= MOST * alone.length &&
    ((rows !== undefined && fails(rows)) || median(wrongAlone.map(({ nmse }) => nmse)) > COARSE);
  if (!isOther) return nothing;
  const count = `${wrongAlone.length} of ${alone.length} products${rows !== undefined && fails(rows) ? ', and the rows of the embedding,' : ''}`;
  return {
    stored: null,
    otherWeights: `${label(tested)} was not computed with the weights of ${file.name} (${file.dtypes}): ${count} are others on the same inputs, and no type of file that was tried takes that away. ${file.isGguf ? 'It is not the GGUF that ran: pass that' : 'Pass the checkpoint or GGUF file that ran'} as --model.`,
  };
}

/** True for products in front of which no other product lies, up to the values that the dump holds. */
function standsAlone(config: ModelConfig, held: ReadonlySet<string>): (product: LocalError) => boolean {
  const { products } = traceModel(config);
  return ({ tap: { name } }) =>
    tapSpan(name, config.num_hidden_layers, held, false, config.model_type).inside.filter((each) =>
      products.has(each),
    ).length === 1;
}

/** The model's file in words. */
interface ModelFile {
  name: string;
  isGguf: boolean;
  /** Dtypes of its matrices, most common first. */
  dtypes: string;
  /** Dtypes of the weights that a product reads. */
  dtypeOf: (tap: string) => string;
  /** Float dtype of all its matrices; undefined where some are quantised. */
  float: string | undefined;
}

function fileOf({ model }: PolicyRunners): ModelFile {
  const { checkpoint, source, config } = model!.weights;
  const { quantClass } = architectureOf(config);
  const { products } = traceModel(config);
  const counts = new Map<string, number>();
  for (const tensor of requiredTensors(config)) {
    const dtype = checkpoint.tensors.get(tensor.name)?.dtype;
    const isMatrix = tensor.role === 'matmul' || tensor.role === 'embedding';
    if (dtype !== undefined && isMatrix && quantClass(tensor, config) !== 'exact')
      counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  }
  const dtypes = [...counts].sort(([, a], [, b]) => b - a).map(([dtype]) => dtype);
  const isFloat = dtypes.every((dtype) => ['F32', 'F16', 'BF16'].includes(dtype));
  return {
    name: basename(resolve(source.path)),
    isGguf: source.metadata !== undefined,
    dtypes: dtypes.join(', '),
    dtypeOf: (tap) => (products.get(tap) ?? []).map((name) => checkpoint.tensors.get(name)?.dtype).join(),
    float: isFloat ? dtypes[0] : undefined,
  };
}

/** Products of F32: what is left where neither weights nor activations are rounded. */
const PLAIN = 'f32';

/** What of a file's weights another type can be made of; rounded blocks tell nothing of what was there. */
function triedTypes({ isGguf, float }: ModelFile, base: Policy): string[] {
  if (!isGguf) return [...TYPES];
  const types = float === undefined ? [] : TYPES.filter((type) => type !== float.toLowerCase());
  return base.name === PLAIN || float === 'F32' ? types : [PLAIN, ...types];
}

/** Share of the products that fail where other weights ran. */
const NEARLY_ALL = 0.9;
/** Energy NMSE beyond that of activations rounded to 8 bits, which other devices round otherwise. */
const COARSE = 1e-4;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Values that are products with a weight which such files hold in their type; a router's stay F32. */
export function storedProducts(config: ModelConfig): (tap: string) => boolean {
  const { products, weights } = traceModel(config);
  const roles = new Map(weights.map((tensor) => [tensor.name, tensor]));
  const { quantClass } = architectureOf(config);
  return (tap) =>
    products.get(tap)?.some((name) => quantClass(roles.get(name)!, config) !== 'exact') ?? false;
}
