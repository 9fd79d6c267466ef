/** What taps are for. Diffs and plots ask for a role, and know no model's names. */
import { FAMILIES, findFamily } from '../families/families.js';
import type { Family, RoleName } from '../families/family.js';
import { tapPattern } from '../tap-pattern.js';
import type { Manifest, TapInfo } from './format.js';

export { ROLE_NAMES, type RoleName } from '../families/family.js';

/** Tap names by role. */
export type DumpRoles = { readonly [role in RoleName]?: readonly string[] } & {
  readonly [role: string]: readonly string[] | undefined;
};

/**
 * The roles of a dump's taps: those that its manifest states, else those of a family that is known by
 * `model.type`.
 * @returns undefined where neither says anything: nothing is guessed from names.
 */
export function dumpRoles({
  roles,
  model,
  taps,
}: Pick<Manifest, 'roles' | 'model' | 'taps'>): DumpRoles | undefined {
  if (roles !== undefined) return roles;
  const family = findFamily(model.type);
  if (family === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(family.roles).flatMap(([role, pattern]) => {
      const names = taps.map(({ name }: TapInfo) => name).filter(tapPattern(pattern));
      return names.length === 0 ? [] : [[role, names]];
    }),
  );
}

/** The family of a dump; for one that does not say what it is of, the first. */
export function familyOf({ model }: Pick<Manifest, 'model'>): Family {
  return findFamily(model.type) ?? FAMILIES[0]!;
}
