import { badArgument } from '../../errors.js';
import type { Policy, SiteKind } from '../../graph/policy.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { modelSites, type PolicySite, siteChoice } from '../../models/runtime/sites.js';
import type { RequiredTensor } from '../../models/runtime/weights.js';

/** A site at which two policies choose differently. */
export interface SiteDifference {
  site: PolicySite;
  /** What each chooses. */
  a: string;
  b: string;
}

/** Sites of one kind of value or module, whatever their block: what one name in the model file stands for. */
export interface SiteGroup {
  /** Tap pattern of exactly these sites, e.g. `layers.{0..7}.self_attn:k_cache#dtype`. */
  pattern: string;
  /** The same without blocks, e.g. `self_attn:k_cache#dtype`. */
  op: string;
  kind: SiteKind;
  /** In order; empty for embedding and head. */
  blocks: number[];
  sites: string[];
}

/**
 * The sites of a model at which two policies differ, in the order of the model.
 * @throws `BAD_ARGUMENT` for a malformed policy.
 */
export function policyDiff(
  a: Policy,
  b: Policy,
  config: ModelConfig,
  tensors?: readonly RequiredTensor[],
): SiteDifference[] {
  const [first, second] = [settingOf(a, config), settingOf(b, config)];
  return modelSites(config, tensors)
    .map((site) => ({ site, a: siteChoice(site, first), b: siteChoice(site, second) }))
    .filter((difference) => difference.a !== difference.b);
}

/**
 * The name of a site without its block: `layers.3.self_attn:k_cache#dtype` is `self_attn:k_cache#dtype`, and
 * `layers.3#round`, the block's output, `#round`.
 */
export function siteOp(name: string): string {
  return name.replace(/^layers\.\d+\.?/, '');
}

/** Sites by {@link siteOp}, in the order in which the first of each comes. */
export function groupSites(sites: readonly PolicySite[]): SiteGroup[] {
  const byOp = new Map<string, PolicySite[]>();
  for (const site of sites) {
    const op = siteOp(site.name);
    const members = byOp.get(op);
    if (members === undefined) byOp.set(op, [site]);
    else members.push(site);
  }
  return [...byOp].map(([op, members]) => {
    const blocks = members.flatMap(({ block }) => (block === null ? [] : [block])).sort((x, y) => x - y);
    const rest = op.startsWith('#') || op.startsWith(':') ? op : `.${op}`;
    return {
      pattern: blocks.length === 0 ? op : `layers.${blockPattern(blocks)}${rest}`,
      op,
      kind: members[0]!.kind,
      blocks,
      sites: members.map(({ name }) => name),
    };
  });
}

/** Rising block numbers as a tap pattern: `3`, `{0..7}`, `{0,{2..5},9}`. Throws `BAD_ARGUMENT` for none. */
export function blockPattern(blocks: readonly number[]): string {
  if (blocks.length === 0) throw badArgument('blockPattern', 'at least one block', 'none');
  const runs: [number, number][] = [];
  for (const block of blocks) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] + 1 === block) last[1] = block;
    else runs.push([block, block]);
  }
  const text = ([first, last]: [number, number]) =>
    first === last ? String(first) : last === first + 1 ? `${first},${last}` : `{${first}..${last}}`;
  if (runs.length > 1) return `{${runs.map(text).join(',')}}`;
  const only = text(runs[0]!);
  return only.includes(',') ? `{${only}}` : only;
}
