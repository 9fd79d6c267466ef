import { familyPolicies, POLICIES, type Policy, resolvePolicy, type Setting } from '../../graph/policy.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';

/**
 * A policy as a model takes it: a preset becomes that of the model's family of the same name, if it has one.
 */
export function modelPolicy(policy: Policy, config: ModelConfig): Policy {
  if (POLICIES[policy.name] !== policy) return policy;
  return familyPolicies(architectureOf(config).family)[policy.name] ?? policy;
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
