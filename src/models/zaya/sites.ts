import { ZayascopeError } from '../../errors.js';
import { type Policy, resolvePolicy } from '../../graph/policy.js';
import { patternGlobs, tapPattern } from '../../tap-pattern.js';
import type { ZayaConfig } from './config.js';
import { type PolicySite, traceZaya } from './trace.js';
import type { RequiredTensor } from './weights.js';

export type { PolicySite } from './trace.js';

/**
 * All sites of a model, in the order in which its graphs ask for them.
 *
 * @param tensors what the checkpoint has; default: what the configuration requires. A head of its own makes a difference.
 */
export function zayaSites(config: ZayaConfig, tensors?: readonly RequiredTensor[]): readonly PolicySite[] {
  if (tensors === undefined) return traceZaya(config).sites;
  return traceZaya(config, { hasHead: tensors.some(({ name }) => name === 'lm_head.weight') }).sites;
}

/**
 * Refuses a policy with a rule that matches no site of the model, and one that is a list of globs of which one matches none (`BAD_ARGUMENT`): a typing error would otherwise change
 * nothing without a word. Also refuses a value that a site of the rule does not take, unless a later rule sets it.
 */
export function checkPolicy(policy: Policy, config: ZayaConfig, tensors?: readonly RequiredTensor[]): void {
  const sites = zayaSites(config, tensors);
  for (const [index, { sites: pattern }] of policy.rules.entries())
    for (const glob of patternGlobs(pattern)) {
      const matches = tapPattern(glob);
      if (!sites.some(({ name }) => matches(name)))
        throw new ZayascopeError(
          'BAD_ARGUMENT',
          `checkPolicy: expected rules that match a site of the model (\`zayascope policy show f32 --model MODEL\` lists them), got ${glob} in rule ${index} (${policy.name})`,
          { op: 'checkPolicy' },
        );
    }
  const setting = resolvePolicy(policy);
  for (const { name, values } of sites)
    if (!values.includes(setting(name)))
      throw new ZayascopeError(
        'BAD_ARGUMENT',
        `checkPolicy: expected one of ${values.join(', ')} for ${name}, got ${setting(name)} (${policy.name})`,
        { op: 'checkPolicy' },
      );
}
