import { tapPattern } from '../tap-pattern.js';
import type { Family, RoleName } from './family.js';

const tests = new Map<string, (name: string) => boolean>();

/** True for taps that play a role in a family. */
export function hasRole({ roles }: Family, role: RoleName, tap: string): boolean {
  const pattern = roles[role];
  if (pattern === undefined) return false;
  const test = tests.get(pattern) ?? tapPattern(pattern);
  tests.set(pattern, test);
  return test(tap);
}

/** The tap of a block that plays a role in a family; undefined in a family without. */
export function roleTap({ roles }: Family, role: RoleName, block: number): string | undefined {
  return roles[role]?.replace('*', String(block));
}
