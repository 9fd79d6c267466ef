import { type Policy, policy as presetPolicy } from '../../graph/policy.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { groupSites, policyDiff, type SiteGroup } from '../replay/policy-sites.js';

/** Sites of one name in several blocks that a policy sets to the same value, other than policy f32. */
export interface ChoiceGroup extends SiteGroup {
  set: string;
  /** Policy f32 with these sites alone. */
  policy: Policy;
}

/**
 * The choices in which a policy differs from `f32`, grouped over blocks, in execution order.
 * @param skipReachable of each block; what becomes of a skip class that no token can choose is no choice.
 */
export function choiceGroups(
  tested: Policy,
  config: ModelConfig,
  skipReachable: readonly boolean[],
): ChoiceGroup[] {
  const different = policyDiff(presetPolicy('f32'), tested, config).filter(
    ({ site: { kind, block } }) => kind !== 'skip' || skipReachable[block!],
  );
  const groups = [...new Set(different.map(({ b }) => b))].flatMap((set) =>
    groupSites(different.filter(({ b }) => b === set).map(({ site }) => site)).map((group) => ({
      ...group,
      set,
    })),
  );
  const order = new Map(different.map(({ site }, index) => [site.name, index]));
  return groups
    .sort((x, y) => order.get(x.sites[0]!)! - order.get(y.sites[0]!)!)
    .map((group) => ({
      ...group,
      policy: {
        name: `f32 with ${group.pattern} ${group.set}`,
        description: 'one choice alone',
        rules: [{ sites: group.pattern, set: group.set }],
      },
    }));
}
