import type { Family } from '../../families/family.js';
import { siteKind } from '../../graph/policy.js';
import { tapPattern } from '../../tap-pattern.js';
import { siteOp } from '../replay/policy-sites.js';

/**
 * How bisect cuts sites: by kind of choice, then by module, then by the value or module that a site is at,
 * then its blocks in halves.
 */
export function siteSplitter(family: Family): (sites: readonly string[]) => string[][] {
  const keys = [siteKind, siteModules(family), siteOp];
  return (sites) => {
    for (const key of keys) {
      const parts = splitBy(sites, key);
      if (parts.length > 1) return parts;
    }
    const half = Math.ceil(sites.length / 2);
    return [sites.slice(0, half), sites.slice(half)].filter((part) => part.length > 0);
  };
}

/** Names the part of a block that a site is in, with its kind, e.g. `self_attn#round` or `mlp#weight`. */
export function siteModules({ parts }: Family): (site: string) => string {
  const patterns = parts.map((part) => tapPattern(part));
  return (name) => {
    const path = siteOp(name)
      .replace(/[:#].*$/, '')
      .split('.');
    const inner = path.slice(0, 2).join('.');
    const module = patterns.some((isPart) => isPart(inner)) ? inner : path[0]!;
    return `${module}#${siteKind(name)}`;
  };
}

/** Sites by a key, in the order in which each key first comes. */
export function splitBy(sites: readonly string[], key: (site: string) => string): string[][] {
  const parts = new Map<string, string[]>();
  for (const site of sites) {
    const part = parts.get(key(site));
    if (part === undefined) parts.set(key(site), [site]);
    else part.push(site);
  }
  return [...parts.values()];
}
