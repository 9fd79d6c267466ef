import type { Family } from '../../families/family.js';
import { familyPolicies, POLICIES, type Policy, resolvePolicy, type Setting } from '../../graph/policy.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';

/** Policies that extend a preset, as the models of a family take them; each is its own. */
const extended = new WeakMap<Policy, Map<Family, Policy>>();

/**
 * A policy as a model takes it: a preset becomes that of the model's family of the same name, if it has one,
 * and so does the preset that a policy extends.
 */
export function modelPolicy(policy: Policy, config: ModelConfig): Policy {
  const { family } = architectureOf(config);
  const presets = familyPolicies(family);
  if (POLICIES[policy.name] === policy) return presets[policy.name] ?? policy;
  const base = POLICIES[policy.extends ?? ''];
  const own = presets[policy.extends ?? ''];
  if (base === undefined || own === undefined || own === base) return policy;
  const known = extended.get(policy) ?? new Map<Family, Policy>();
  extended.set(policy, known);
  const found = known.get(family) ?? {
    ...policy,
    rules: [...own.rules, ...policy.rules.slice(base.rules.length)],
  };
  known.set(family, found);
  extended.set(found, known);
  return found;
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
