import { ZayascopeError } from '../../errors.js';
import type { Family } from '../../families/family.js';
import { siteKind } from '../../graph/policy.js';
import type { PolicyRunnerOptions, RunCost } from '../replay/policy-runner.js';
import { groupSites, siteOp } from '../replay/policy-sites.js';
import { openPolicyTests, type PolicyProblem } from '../replay/policy-tests.js';
import { siteModules, splitBy } from './levels.js';

/** How sites are grouped: kind of choice, part of a block, value or module, block, or each by itself. */
export const ATTRIBUTION_GROUPS = ['kind', 'module', 'op', 'block', 'site'] as const;

/** One of {@link ATTRIBUTION_GROUPS}. */
export type AttributionGroup = (typeof ATTRIBUTION_GROUPS)[number];

/** Options of {@link attribute}. */
export interface AttributionOptions extends PolicyRunnerOptions {
  /** Default `op`. */
  by?: AttributionGroup;
  /** Called after each run: runs so far and in all. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the work (`CANCELLED`). */
  signal?: AbortSignal;
}

/** What a group of sites contributes; all errors are energy NMSEs of the logits. */
export interface AttributionRow {
  /** Name of the group, e.g. `self_attn:k_cache#dtype`, `block 3`. */
  group: string;
  /** Tap pattern of exactly its sites. */
  pattern: string;
  sites: number;
  /** Error with this group alone bad. */
  alone: number;
  /** Error with all groups but this one bad. */
  repaired: number;
  /** Error with this group and all before it bad: the steps of a waterfall. */
  cumulative: number;
}

/** What {@link attribute} gives. */
export interface AttributionReport {
  good: { policy: string; error: number };
  bad: { policy: string; error: number };
  against: 'good run' | 'reference';
  by: AttributionGroup;
  /**
   * In the order in which the model reaches each group first; the cumulative error of the last is that of the
   * bad run.
   */
  rows: AttributionRow[];
  cost: RunCost;
}

/**
 * Attributes the difference of two policies to groups of sites: about three runs for each. Errors need not
 * add up: where they do not, `alone` and the step of `cumulative` differ.
 * @throws what `openPolicyTests` throws; `CANCELLED` by the signal.
 */
export async function attribute(
  problem: PolicyProblem,
  { by = 'op', onProgress, signal, ...options }: AttributionOptions = {},
): Promise<AttributionReport> {
  using tests = await openPolicyTests(problem, options);
  const cancel = () => tests.runner.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    const sites = new Map(tests.differences.map(({ site }) => [site.name, site]));
    const all = [...sites.keys()];
    const keyOf = siteKey(by, tests.family);
    const groups = splitBy(all, keyOf);
    const known = new Map<string, number>();
    const total = 3 * groups.length + 2;
    let done = 0;
    const measure = async (names: readonly string[]): Promise<number> => {
      if (signal?.aborted)
        throw new ZayascopeError('CANCELLED', `attribute: cancelled after ${done} of ${total} runs`, {
          op: 'attribute',
        });
      const key = all.map((name) => (names.includes(name) ? '1' : '0')).join('');
      const error = known.get(key) ?? (await tests.measure(names));
      known.set(key, error);
      onProgress?.(++done, total);
      return error;
    };
    const [good, bad] = [await measure([]), await measure(all)];
    const rows: AttributionRow[] = [];
    const before: string[] = [];
    for (const group of groups) {
      before.push(...group);
      rows.push({
        group: keyOf(group[0]!),
        pattern: groupSites(group.map((name) => sites.get(name)!))
          .map(({ pattern }) => pattern)
          .join(','),
        sites: group.length,
        alone: await measure(group),
        repaired: await measure(all.filter((name) => !group.includes(name))),
        cumulative: await measure(before),
      });
    }
    return {
      good: { policy: problem.good.name, error: good },
      bad: { policy: problem.bad.name, error: bad },
      against: problem.reference === undefined ? 'good run' : 'reference',
      by,
      rows,
      cost: { ...tests.runner.cost },
    };
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** What names the group of a site. */
export function siteKey(by: AttributionGroup, family: Family): (site: string) => string {
  switch (by) {
    case 'kind':
      return (site) => `#${siteKind(site)}`;
    case 'module':
      return siteModules(family);
    case 'op':
      return siteOp;
    case 'site':
      return (site) => site;
    case 'block':
      return (site) => {
        const block = /^layers\.(\d+)/.exec(site)?.[1];
        return block === undefined ? 'embedding and head' : `block ${block}`;
      };
  }
}
