import { siteKind } from '../../graph/policy.js';
import { siteOp } from '../replay/policy-sites.js';

/**
 * How bisect cuts sites: by kind of choice, then by module, then by the value or module that a site is at,
 * then its blocks in halves.
 */
export function splitSites(sites: readonly string[]): string[][] {
  for (const key of [siteKind, siteModule, siteOp]) {
    const parts = splitBy(sites, key);
    if (parts.length > 1) return parts;
  }
  const half = Math.ceil(sites.length / 2);
  return [sites.slice(0, half), sites.slice(half)].filter((part) => part.length > 0);
}

/** The part of a block that a site is in, with its kind, e.g. `self_attn#round` or `mlp#weight`. */
export function siteModule(name: string): string {
  const path = siteOp(name)
    .replace(/[:#].*$/, '')
    .split('.');
  const inner = path[1] === 'qkv_proj' || path[1] === 'qk_norm' || path[0] === 'mlp';
  return `${path.slice(0, inner ? 2 : 1).join('.')}#${siteKind(name)}`;
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
