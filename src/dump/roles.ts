/** What taps are for. Diffs and plots ask for a role, and know no model's names. */
import { ZAYA } from '../families/zaya.js';
import { tapPattern } from '../tap-pattern.js';
import type { Manifest, TapInfo } from './format.js';

/** The roles that readers of this version know. */
export const ROLE_NAMES = [
  'residual',
  'logits',
  'router.expert',
  'router.probabilities',
  'router.margin',
  'attention.weights',
  'mask',
  'cache.key',
  'cache.value',
  'state',
] as const;

/**
 * - `residual`: the stream that a block passes on; `logits`: one per token of the vocabulary, before any soft-max.
 * - `router.expert`: the experts that a token takes (integers); `router.probabilities`: what they are chosen by, biases included;
 *   `router.margin`: how far the choice was ahead of the next expert.
 * - `attention.weights`: after the soft-max; `mask`: what is added to scores before it.
 * - `cache.key`, `cache.value`, `state`: what a sequence leaves for its next step.
 */
export type RoleName = (typeof ROLE_NAMES)[number];

/** Tap names by role. */
export type DumpRoles = { readonly [role in RoleName]?: readonly string[] } & {
  readonly [role: string]: readonly string[] | undefined;
};

const FAMILIES: readonly { type: string; roles: Readonly<Record<string, string>> }[] = [ZAYA];

/**
 * The roles of a dump's taps: those that its manifest states, else those of a family that is known by `model.type`.
 * @returns undefined where neither says anything: nothing is guessed from names.
 */
export function dumpRoles({
  roles,
  model,
  taps,
}: Pick<Manifest, 'roles' | 'model' | 'taps'>): DumpRoles | undefined {
  if (roles !== undefined) return roles;
  const family = FAMILIES.find(({ type }) => type === model.type);
  if (family === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(family.roles).flatMap(([role, pattern]) => {
      const names = taps.map(({ name }: TapInfo) => name).filter(tapPattern(pattern));
      return names.length === 0 ? [] : [[role, names]];
    }),
  );
}
