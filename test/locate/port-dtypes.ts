import { type Policy, policy } from '../../src/graph/policy.js';

/**
 * A preset of the port without what it does about the skip class: tokens of the tiny model choose it, and
 * then nothing else of the error can be seen.
 */
export function portDtypes(name = 'llamacpp'): Policy {
  const { rules, ...rest } = policy(name);
  return { ...rest, rules: [...rules, { sites: '**.gate:expert#skip', set: 'zero' }] };
}
