import { familyPolicies, type Policy, resolvePolicy, SITE_KINDS, siteKind } from '../../../graph/policy.js';
import { architectureOf } from '../../../models/architectures.js';
import { exampleConfig } from '../../../models/example.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { weightSite } from '../../../models/runtime/loader.js';
import type { Model } from '../../../models/runtime/model.js';
import { settingOf } from '../../../models/runtime/model-policy.js';
import { siteTaps } from '../../../models/runtime/site-taps.js';
import { modelSites, type PolicySite } from '../../../models/runtime/sites.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { tapPlace } from '../../replay/tap-graph.js';

/** Choices tried for a kind of op. */
export const MAX_CHOICES = 12;

/** A choice that may explain an op, as a rule of a policy. */
export interface Hypothesis {
  sites: string;
  set: string;
  /** The op of the span at which it shows, without its block. */
  at: string;
}

/** Where choices show: by site, the taps, both without their block. */
export function shownAt(config: ModelConfig): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [site, taps] of siteTaps(exampleConfig(config.model_type)))
    found.set(tapPlace(site).suffix, [
      ...new Set([...(found.get(tapPlace(site).suffix) ?? []), ...taps.map((tap) => tapPlace(tap).suffix)]),
    ]);
  // A weight shows in the products with it, whatever it is called: of experts, of a head that is tied to the
  // embedding.
  for (const [tap, weights] of traceModel(config).products)
    for (const weight of weights) {
      const site = tapPlace(weightSite(weight)).suffix;
      found.set(site, [...new Set([...(found.get(site) ?? []), tapPlace(tap).suffix])]);
    }
  return found;
}

/** Choices that change an op, or one inside its span, likelier ones first. */
export function choicesInside(inside: readonly string[], model: Model, base: Policy): Hypothesis[] {
  return choiceFinder(model, base)(inside).slice(0, MAX_CHOICES);
}

/**
 * The same of several ops of a model. Choices that change nothing there are none: what `base` chooses itself,
 * and stored
 * weights that are F32, or F16 where they are so stored.
 * @returns all of them, of which {@link MAX_CHOICES} are tried.
 */
export function choiceFinder(
  { config, weights: { checkpoint } }: Pick<Model, 'config' | 'weights'>,
  base: Policy,
): (inside: readonly string[]) => Hypothesis[] {
  const [sites, shows, setting] = [modelSites(config), shownAt(config), settingOf(base, config)];
  const dtypes = new Map(
    traceModel(config).weights.map(({ name }) => [
      weightSite(name),
      checkpoint.tensors.get(name)?.dtype ?? 'F32',
    ]),
  );
  const isSame = (dtype: string | undefined, set: string) =>
    set === 'stored' ? dtype === 'F32' : dtype === set;
  const isNothing = (site: string, set: string) =>
    setting(site) === set || (siteKind(site) === 'weight' && isSame(dtypes.get(site), set));
  const likely = portChoices(config);
  return (inside) => hypotheses(inside, { sites, shows, isNothing, likely });
}

/** True for what a port is known to choose, by a site of block 0 or without a block. */
function portChoices(config: ModelConfig): (site: string, set: string) => boolean {
  const presets = Object.values(familyPolicies(architectureOf(config).family)).filter(
    ({ rules }) => rules.length > 1 && !rules.some(({ sites }) => /#(round|weight|parameters)$/.test(sites)),
  );
  const settings = presets.map((preset) => resolvePolicy(preset));
  return (site, set) => settings.some((setting) => setting(site) === set);
}

/** Weights as stored, and in F16: ggml rounds what it multiplies them with to the same dtype. */
const WEIGHT_SETS = ['stored', 'F16'];

interface Choices {
  sites: readonly PolicySite[];
  shows: ReadonlyMap<string, readonly string[]>;
  isNothing: (site: string, set: string) => boolean;
  likely: (site: string, set: string) => boolean;
}

/** As {@link choicesInside}. */
function hypotheses(inside: readonly string[], { sites, shows, isNothing, likely }: Choices): Hypothesis[] {
  const found = new Map<string, Hypothesis & { rank: number }>();
  const kinds = Object.keys(SITE_KINDS);
  for (const { name, kind: choice, block, values } of sites) {
    const suffix = block === null ? name : tapPlace(name).suffix;
    const own = suffix.slice(0, suffix.lastIndexOf('#'));
    const places = shows.get(suffix) ?? [own];
    const at = inside.find((kind) => places.includes(kind));
    if (at === undefined) continue;
    // Rounded weights and types of whole files change every op at once: see `dtypes/stored-types.ts`. A
    // device that computes in half precision rounds both operands of a product to F16, whatever is stored.
    const sets = choice === 'parameters' ? [] : choice === 'weight' ? WEIGHT_SETS : values.slice(1);
    for (const set of sets) {
      if (isNothing(name, set)) continue;
      // What comes out rounded is likelier than a rounding on the way.
      const rank =
        choice === 'round'
          ? kinds.length + (own === inside.at(-1) ? 1 : own === at ? 2 : 3)
          : choice === 'weight'
            ? kinds.length
            : likely(name, set)
              ? 0
              : 1 + kinds.indexOf(choice);
      found.set(`${suffix} ${set}`, { sites: block === null ? suffix : `layers.*${suffix}`, set, at, rank });
    }
  }
  return [...found.values()]
    .sort((a, b) => a.rank - b.rank)
    .map(({ sites: pattern, set, at }) => ({ sites: pattern, set, at }));
}
