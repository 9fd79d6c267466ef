import { badArgument, unmet } from '../errors.js';
import { FAMILIES } from '../families/families.js';
import type { Family } from '../families/family.js';
import { FieldCheck, jsonProblem } from '../field-check.js';
import { readRegularText } from '../regular-file.js';
import { tapPattern } from '../tap-pattern.js';

/**
 * The kinds of choice that a policy makes, with their values; the first is what holds where no rule says
 * otherwise. A site is the name of a value or module and a kind, e.g. `layers.3.self_attn.o_proj#weight`:
 * - `weight`: `F32` widened; `stored`: in the checkpoint's dtype, which on the CPU rounds activations too, as
 *   ggml does; a GGUF type: as `convert` writes it into a file of that type (the router's
 *   matrices stay F32); `F16`: in that dtype, the router's too, as a device that computes in half precision
 *   rounds both operands of every product
 * - `round`: a value is rounded to a dtype and back, at a tap or inside an op (e.g.
 *   `layers.0.input_layernorm:normalised#round`)
 * - `kernel`, `patches`: dtypes that the weight and the im2col of the grouped convolution are rounded to;
 *   with F16 for both the products are ggml's F16 ones
 * - `form`: GELU, exact or ggml's tanh approximation (which the CPU reads from an F16 table)
 * - `dtype`: keys and values as attention reads them; a half-width dtype also rounds what is multiplied with
 *   them
 * - `skip`: what a token gets whose router chose the class without an expert: nothing, its own value times
 *   the class's probability, or the best real expert instead
 * - `parameters`: the stored weights of a block (or of embedding and head: `model#parameters`), rounded to a
 *   dtype as they are loaded, balancing biases excepted: what `from_pretrained(dtype=...)` does
 * - `eps`: the smallest norm of queries and keys is this dtype's machine epsilon
 * - `angles`: of the rotary embedding. `power`: position times a frequency that is a power of the base;
 *   `product`: multiplied up in F32 from pair to pair, as ggml's `rope` does
 */
export const SITE_KINDS = {
  weight: ['F32', 'stored', 'bf16', 'f16', 'q8_0', 'q6_k', 'q5_k_m', 'q4_k_m', 'q4_0', 'F16'],
  round: ['none', 'BF16', 'F16'],
  kernel: ['F32', 'F16', 'BF16'],
  patches: ['F32', 'F16'],
  form: ['erf', 'tanh'],
  dtype: ['F32', 'F16', 'BF16'],
  eps: ['F32', 'F16', 'BF16'],
  angles: ['power', 'product'],
  skip: ['zero', 'identity', 'dropped'],
  parameters: ['stored', 'BF16', 'F16'],
} as const;

/** What follows the `#` of a site. */
export type SiteKind = keyof typeof SITE_KINDS;

/** Sets all sites that match to a value. */
export interface PolicyRule {
  /** Pattern of site names, see `tap-pattern.ts`. */
  sites: string;
  set: string;
}

/** How values are rounded to a half-width dtype. */
export interface Rounding {
  /**
   * `nearest`: to the nearest value, ties to even. `stochastic`: up or down, with odds that make the mean
   * right: at sites of kind `round`, and of what products of half-width operands round inside ggml
   * (activations, queries, probabilities, keys and values of a half-width cache, F16 patches). Weights are
   * rounded to nearest always, and so are activations of quantised weights.
   */
  mode: 'nearest' | 'stochastic';
  /** Integer from 0 to 2^32 − 1. The same input and seed are rounded the same on every machine. */
  seed: number;
}

/**
 * Which dtype is used where, as data: printed as it is in every manifest, read from JSON. Later rules win.
 */
export interface Policy {
  name: string;
  /** One sentence for people. */
  description: string;
  rules: readonly PolicyRule[];
  /**
   * The preset whose rules come first among `rules`: a model of another family takes its own of this name in
   * their place. Default: none.
   */
  extends?: string;
  /** Default: to nearest. */
  rounding?: Rounding;
}

/** The value of a policy at a site. */
export type Setting = (site: string) => string;

/** The presets of every family. */
const COMMON: Readonly<Record<string, Policy>> = {
  f32: { name: 'f32', description: 'weights widened, F32 everywhere', rules: [] },
  'bf16-weights': {
    name: 'bf16-weights',
    description:
      'matmul weights as stored, which rounds their activations to the same dtype on the CPU; everything else F32',
    rules: [{ sites: '**#weight', set: 'stored' }],
  },
};

const presets = new Map<Family, Readonly<Record<string, Policy>>>();

/** The presets of a family by name: those of every family, then its own. */
export function familyPolicies(family: Family): Readonly<Record<string, Policy>> {
  const known = presets.get(family) ?? { ...COMMON, ...family.policies };
  presets.set(family, known);
  return known;
}

/** The presets by name, of the first family; a model of another family takes its own of the same name. */
export const POLICIES: Readonly<Record<string, Policy>> = familyPolicies(FAMILIES[0]!);

/**
 * A preset by name, of a family (default: the first that has one of this name); throws `BAD_ARGUMENT` listing
 * the names.
 */
export function policy(name: string, family?: Family): Policy {
  const families = family === undefined ? FAMILIES : [family];
  const own = families.find((each) => ownPreset(each, name) !== undefined);
  if (own !== undefined) return ownPreset(own, name)!;
  const names = new Set(families.flatMap((each) => Object.keys(familyPolicies(each))));
  throw badArgument('policy', `one of ${[...names].join(', ')}, or a .json file`, name);
}

/** The preset of a family by name; undefined for none. */
export function ownPreset(family: Family, name: string): Policy | undefined {
  const presets = familyPolicies(family);
  return Object.hasOwn(presets, name) ? presets[name] : undefined;
}

/** A preset, and the types of models that take it. */
export interface ListedPreset extends Policy {
  models: readonly string[];
}

/** The presets of all families by name; those of one name stand together. */
export function listPresets(): ListedPreset[] {
  const names = new Set(FAMILIES.flatMap((family) => Object.keys(familyPolicies(family))));
  return [...names].flatMap((name) => {
    const typesOf = new Map<Policy, string[]>();
    for (const family of FAMILIES) {
      const found = ownPreset(family, name);
      if (found !== undefined) typesOf.set(found, [...(typesOf.get(found) ?? []), ...family.types]);
    }
    return [...typesOf].map(([preset, models]) => ({ ...preset, models }));
  });
}

/** True for a preset of any family, and not merely a policy of its name. */
export function isPreset(policy: Policy): boolean {
  return FAMILIES.some((family) => ownPreset(family, policy.name) === policy);
}

/**
 * The preset whose rules come first in a policy that extends one; undefined for others. Families have presets
 * of the same name: it is the one whose rules these are.
 */
export function basePreset({ extends: base, rules }: Policy): Policy | undefined {
  if (base === undefined) return undefined;
  const bases = FAMILIES.map((family) => ownPreset(family, base));
  return bases.find((each) =>
    each?.rules.every(({ sites, set }, k) => sites === rules[k]?.sites && set === rules[k].set),
  );
}

/**
 * A policy with stochastic rounding, named e.g. `pytorch-bf16:stochastic=7`, as {@link loadPolicy} reads it.
 */
export function stochasticPolicy(policy: Policy, seed: number): Policy {
  const { name, description, rules } = policy;
  const base = policy.extends ?? (isPreset(policy) ? name : undefined);
  return {
    name: `${name.replace(STOCHASTIC, '')}:stochastic=${seed}`,
    description: `${description.replace(/; rounded stochastically$/, '')}; rounded stochastically`,
    extends: base,
    rules,
    rounding: checkRounding({ mode: 'stochastic', seed }, name),
  };
}

/** True for a policy that rounds stochastically. */
export function isStochastic({ rounding }: Policy): boolean {
  return rounding?.mode === 'stochastic';
}

/** Refuses a policy that rounds stochastically (`BAD_ARGUMENT`), for what recomputes single ops. */
export function requireNearest(op: string, policy: Policy): void {
  if (isStochastic(policy))
    throw badArgument(op, 'a policy that rounds to nearest', 'one that rounds stochastically', policy.name);
}

const STOCHASTIC = /:stochastic=(\d+)$/;

function checkRounding(value: unknown, where: string): Rounding {
  const { mode, seed = 0 } = (value ?? {}) as Record<string, unknown>;
  const isSeed = typeof seed === 'number' && Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32;
  if ((mode !== 'nearest' && mode !== 'stochastic') || !isSeed)
    throw badArgument(
      'policy',
      'rounding with a mode of nearest or stochastic and a seed from 0 to 4294967295',
      JSON.stringify(value),
      where,
    );
  return { mode, seed };
}

/**
 * A preset by name (of a family; default the first), or the policy of a `.json` file: an object with `name`,
 * `rules`, and optionally `description`, `extends` (a preset whose rules come first) and `rounding`. With
 * `:stochastic=SEED` behind it, either rounds stochastically.
 *
 * @throws `IO` for a file that cannot be read; `BAD_ARGUMENT` for an unknown preset, a file that is no such
 * object, and as {@link resolvePolicy}.
 */
export async function loadPolicy(nameOrFile: string, family?: Family): Promise<Policy> {
  const seed = STOCHASTIC.exec(nameOrFile);
  if (seed !== null)
    return stochasticPolicy(await loadPolicy(nameOrFile.slice(0, seed.index), family), Number(seed[1]));
  if (!nameOrFile.endsWith('.json')) return policy(nameOrFile, family);
  let text: string;
  try {
    text = await readRegularText(nameOrFile);
  } catch (cause) {
    const got = (cause as Error).message;
    throw unmet('IO', 'loadPolicy', 'a readable file', got, { where: nameOrFile, cause });
  }
  let json: unknown;
  let problem: string | undefined;
  try {
    problem = jsonProblem(text);
    json = JSON.parse(text);
  } catch (cause) {
    throw badArgument('loadPolicy', 'JSON', 'something else', nameOrFile, cause);
  }
  if (problem !== undefined)
    throw badArgument('loadPolicy', 'JSON with unique keys, nested at most 32 deep', problem, nameOrFile);
  const check = new FieldCheck({ code: 'BAD_ARGUMENT', op: 'loadPolicy', where: nameOrFile });
  const { name, description = '', rules, extends: base, rounding } = check.object(json, 'the file');
  if (name === '') check.fail('name', 'a name', name);
  const own = check.array(rules, 'rules').map((entry, k): PolicyRule => {
    const { sites, set } = check.object(entry, `rules[${k}]`);
    return { sites: check.string(sites, `rules[${k}].sites`), set: check.string(set, `rules[${k}].set`) };
  });
  const result: Policy = {
    name: check.string(name, 'name'),
    description: check.string(description, 'description'),
    rules: own,
  };
  if (base !== undefined) {
    result.extends = check.string(base, 'extends');
    result.rules = [...policy(result.extends, family).rules, ...own];
  }
  if (rounding !== undefined) result.rounding = checkRounding(rounding, nameOrFile);
  resolvePolicy(result);
  return result;
}

/**
 * Compiles a policy. Throws `BAD_ARGUMENT` for a rule whose pattern is malformed or names no kind, or whose
 * value is none of the kind's.
 */
export function resolvePolicy({ name, rules }: Policy): Setting {
  const compiled = rules.map(({ sites, set }) => {
    const known = Object.entries(SITE_KINDS).some(
      ([kind, values]) => sites.includes(`#${kind}`) && (values as readonly string[]).includes(set),
    );
    if (!known)
      throw badArgument(
        'policy',
        `sites that end in #${Object.keys(SITE_KINDS).join(', #')} and a value of that kind`,
        `${sites} set to ${set}`,
        name,
      );
    return { matches: tapPattern(sites), set };
  });
  const cache = new Map<string, string>();
  return (site) => {
    let value = cache.get(site);
    if (value === undefined) {
      value = compiled.findLast(({ matches }) => matches(site))?.set ?? SITE_KINDS[siteKind(site)][0];
      cache.set(site, value);
    }
    return value;
  };
}

/**
 * The site of what a tensor is rounded to as it is loaded: `model.layers.3.input_layernorm.weight` is
 * `layers.3#parameters`, all outside blocks `model#parameters`.
 */
export function parametersSite(tensor: string): string {
  const block = /^(?:model\.)?(layers\.\d+)\./.exec(tensor);
  return `${block?.[1] ?? 'model'}#parameters`;
}

/** The kind of a site. */
export function siteKind(site: string): SiteKind {
  return site.slice(site.lastIndexOf('#') + 1) as SiteKind;
}
