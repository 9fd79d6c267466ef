import { SITE_KINDS, siteKind } from '../../../graph/policy.js';
import { exampleConfig } from '../../../models/example.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import { weightSite } from '../../../models/runtime/loader.js';
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

/**
 * Where choices show that are no rounding of a value by their own name: by site, the taps, both without their
 * block.
 */
function shownAt(config: ModelConfig): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [site, taps] of siteTaps(exampleConfig(config.model_type)))
    if (siteKind(site) !== 'round')
      found.set(
        tapPlace(site).suffix,
        taps.map((tap) => tapPlace(tap).suffix),
      );
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
export function choicesInside(inside: readonly string[], config: ModelConfig): Hypothesis[] {
  return choiceFinder(config)(inside).slice(0, MAX_CHOICES);
}

/** The same of several ops of a model. @returns all of them, of which {@link MAX_CHOICES} are tried. */
export function choiceFinder(config: ModelConfig): (inside: readonly string[]) => Hypothesis[] {
  const [sites, shows] = [modelSites(config), shownAt(config)];
  return (inside) => hypotheses(inside, sites, shows);
}

/** As {@link choicesInside}. */
function hypotheses(
  inside: readonly string[],
  sites: readonly PolicySite[],
  shows: ReadonlyMap<string, readonly string[]>,
): Hypothesis[] {
  const found = new Map<string, Hypothesis>();
  for (const { name, kind: choice, block, values } of sites) {
    const suffix = block === null ? name : tapPlace(name).suffix;
    const places = shows.get(suffix) ?? [suffix.slice(0, suffix.lastIndexOf('#'))];
    // Parts of an op are named after it, e.g. `.input_layernorm:normalised`.
    const at = inside.find((kind) =>
      places.some((place) => place === kind || (kind !== '' && place.startsWith(`${kind}:`))),
    );
    if (at === undefined) continue;
    // Rounded weights and types of whole files change every op at once: see `dtypes/stored-types.ts`.
    const sets = choice === 'parameters' ? [] : choice === 'weight' ? ['stored'] : values.slice(1);
    for (const set of sets)
      found.set(`${suffix} ${set}`, { sites: block === null ? suffix : `layers.*${suffix}`, set, at });
  }
  const order = Object.keys(SITE_KINDS);
  const last = (each: Hypothesis) =>
    siteKind(each.sites) === 'round' ? order.length : order.indexOf(siteKind(each.sites));
  return [...found.values()].sort((a, b) => last(a) - last(b));
}
