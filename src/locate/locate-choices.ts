import { type Policy, policy as presetPolicy, resolvePolicy } from '../graph/policy.js';
import type { ZayaConfig } from '../models/zaya-config.js';
import { zayaSites } from '../models/zaya-sites.js';

/** Sites of one name in several blocks that a policy sets to the same value, other than policy f32. */
export interface ChoiceGroup {
  /** Site without its block. */
  sites: string;
  set: string;
  blocks: number[];
  /** Policy f32 with these sites alone. */
  policy: Policy;
}

/** The choices in which a policy differs from `f32`, grouped over blocks, in execution order. */
export function choiceGroups(tested: Policy, config: ZayaConfig): ChoiceGroup[] {
  const [good, bad] = [resolvePolicy(presetPolicy('f32')), resolvePolicy(tested)];
  const groups = new Map<string, { sites: string; set: string; blocks: number[]; names: string[] }>();
  for (const { name, block } of zayaSites(config)) {
    const set = bad(name);
    if (set === good(name)) continue;
    const sites = block === null ? name : name.replace(/^layers\.\d+/, '');
    const key = `${sites} ${set}`;
    const group = groups.get(key) ?? { sites, set, blocks: [], names: [] };
    groups.set(key, group);
    group.names.push(name);
    if (block !== null) group.blocks.push(block);
  }
  return [...groups.values()].map(({ names, ...group }) => ({
    ...group,
    policy: {
      name: `f32 with ${group.sites} ${group.set}`,
      description: 'one choice alone',
      rules: [{ sites: names.join(','), set: group.set }],
    },
  }));
}
