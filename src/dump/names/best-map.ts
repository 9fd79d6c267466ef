/** Which built-in map another program's names are those of. */
import { FAMILY_MAPS } from '../../families/families.js';
import { blockOfTap, compileNameMap } from './name-map.js';

/** A built-in map and how many of the names it knows. */
export interface KnownNames {
  map: string;
  count: number;
}

/**
 * The built-in map that knows most of `names`; null where none knows any. Rules for whatever else there is
 * (`{rest}`) count only with `taps`.
 *
 * @param taps where known: what the names must lead to.
 */
export function bestMap(names: readonly string[], taps?: readonly string[]): KnownNames | null {
  const targets = taps && new Set(taps);
  const blocks = taps && 1 + taps.reduce((most, tap) => Math.max(most, blockOfTap(tap) ?? -1), -1);
  let best: KnownNames | null = null;
  for (const [name, map] of Object.entries(FAMILY_MAPS)) {
    const compiled = compileNameMap(map);
    const found = new Set(
      names.flatMap((each) =>
        compiled
          .resolve(each, blocks)
          .filter(({ tap, rule }) => targets?.has(tap) ?? !rule.from.includes('{rest}'))
          .map(({ tap }) => tap),
      ),
    );
    if (found.size > (best?.count ?? 0)) best = { map: name, count: found.size };
  }
  return best;
}
