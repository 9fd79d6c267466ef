import { badArgument } from '../../errors.js';
import type { Family } from '../../families/family.js';
import {
  basePreset,
  familyPolicies,
  isPreset,
  ownPreset,
  type Policy,
  resolvePolicy,
  type Setting,
} from '../../graph/policy.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';

/** Policies that extend a preset, as the models of a family take them; each is its own. */
const extended = new WeakMap<Policy, Map<Family, Policy>>();

/**
 * A policy as a model takes it: a preset becomes that of the model's family of the same name, and so does the
 * preset that a policy extends. Throws `BAD_ARGUMENT` for a preset that the family does not have.
 */
export function modelPolicy(policy: Policy, config: ModelConfig): Policy {
  const { family } = architectureOf(config);
  if (isPreset(policy)) return presetOf(family, policy.name);
  const base = basePreset(policy);
  if (base === undefined) return policy;
  const own = presetOf(family, base.name, policy.name);
  if (own === base) return policy;
  const known = extended.get(policy) ?? new Map<Family, Policy>();
  extended.set(policy, known);
  const found = known.get(family) ?? {
    ...policy,
    rules: [...own.rules, ...policy.rules.slice(base.rules.length)],
  };
  known.set(family, found);
  return found;
}

/**
 * How many of the first rules of a model's policy are a preset's. They speak of every model of the family: a
 * rule of theirs may be about a part that this one lacks.
 */
export function presetRuleCount(policy: Policy): number {
  return isPreset(policy) ? policy.rules.length : (basePreset(policy)?.rules.length ?? 0);
}

function presetOf(family: Family, name: string, extending?: string): Policy {
  const found = ownPreset(family, name);
  if (found !== undefined) return found;
  const names = Object.keys(familyPolicies(family)).join(', ');
  throw badArgument('policy', `a preset for ${family.types.join(' and ')}: ${names}`, name, extending);
}

const settings = new WeakMap<Policy, Setting>();

/**
 * What a policy chooses at the sites of a model; resolved once for each policy object. Throws as {@link
 * resolvePolicy}.
 */
export function settingOf(policy: Policy, config: ModelConfig): Setting {
  const own = modelPolicy(policy, config);
  const setting = settings.get(own) ?? resolvePolicy(own);
  settings.set(own, setting);
  return setting;
}
