/** Decides which value of a source becomes which tap. */
import type { TapSpec } from '../format.js';
import { type ForeignSource, type ForeignValue, importError } from '../import/foreign.js';
import { bestMap } from './best-map.js';
import { blockOfTap, type CompiledNameMap, type NameRule } from './name-map.js';

/**
 * What happens to values that no rule knows: the import fails, stores them under their own names, or leaves
 * them out.
 */
export type UnmappedChoice = 'fail' | 'keep' | 'drop';

/** A tap and where its values come from. */
export interface ResolvedTap {
  name: string;
  /** The other program's name. */
  from: string;
  /** Undefined for a value kept under its own name. */
  rule: NameRule | undefined;
  /** One per step, in their order; undefined where a step lacks it. */
  values: (ForeignValue | undefined)[];
}

/** The outcome of {@link resolveNames}. */
export interface ResolvedNames {
  taps: ResolvedTap[];
  /** Names that no rule knows. */
  unmapped: string[];
  /** Names whose tap has a better source. */
  superseded: string[];
  /** Names that the map knows to be no tap. */
  ignored: string[];
}

/**
 * Resolves all names of a source. @param targets taps of the model by name; a tap that is none of them does
 * not count. Undefined: any tap name does. Throws `BAD_ARGUMENT` listing names that no rule knows, with
 * `unmapped` `fail`.
 */
export function resolveNames(
  source: ForeignSource,
  steps: number,
  map: CompiledNameMap,
  targets: ReadonlyMap<string, TapSpec> | undefined,
  unmapped: UnmappedChoice,
): ResolvedNames {
  const byName = new Map<string, ForeignValue[]>();
  for (const value of source.values) {
    const known = byName.get(value.name);
    if (known === undefined) byName.set(value.name, [value]);
    else known.push(value);
  }
  const blocks = countBlocks([...byName.keys()], map, targets);
  const chosen = new Map<string, { from: string; rule: NameRule | undefined; priority: number }>();
  const result: ResolvedNames = { taps: [], unmapped: [], superseded: [], ignored: [] };
  const candidates: { from: string; taps: string[] }[] = [];
  const offer = (tap: string, from: string, rule: NameRule | undefined, priority: number): void => {
    const known = chosen.get(tap);
    if (known === undefined || priority < known.priority) chosen.set(tap, { from, rule, priority });
  };
  for (const name of byName.keys()) {
    const found = map.resolve(name, blocks).filter(({ tap }) => targets?.has(tap) ?? true);
    for (const { tap, rule, priority } of found) offer(tap, name, rule, priority);
    if (found.length > 0) candidates.push({ from: name, taps: found.map(({ tap }) => tap) });
    else if (map.ignores(name) || isEarlier(name, source, byName, map)) result.ignored.push(name);
    else {
      result.unmapped.push(name);
      if (unmapped === 'keep') offer(name, name, undefined, Number.POSITIVE_INFINITY);
    }
  }
  if (unmapped === 'fail' && result.unmapped.length > 0)
    throw importError(
      'BAD_ARGUMENT',
      `names that the map '${map.name}' knows (or --keep-unmapped, --drop-unmapped)`,
      `${result.unmapped.length} others: ${listNames(result.unmapped)}${otherMap(map.name, byName, candidates.length)}`,
      source.name,
    );
  for (const { from, taps } of candidates)
    if (!taps.some((tap) => chosen.get(tap)?.from === from)) result.superseded.push(from);
  for (const [name, { from, rule }] of chosen) {
    const values: (ForeignValue | undefined)[] = new Array(steps).fill(undefined);
    for (const value of byName.get(from)!) values[value.step] = value;
    result.taps.push({ name, from, rule, values });
  }
  if (result.taps.length === 0)
    throw importError('BAD_ARGUMENT', `a value that the map '${map.name}' knows`, 'none', source.name);
  return result;
}

/** Names the map that knows more of the names; nothing where none does. */
export function otherMap(map: string, names: ReadonlyMap<string, unknown>, known: number): string {
  const best = bestMap([...names.keys()]);
  return best === null || best.map === map || best.count <= known
    ? ''
    : `. Pass --map ${best.map}, which knows ${best.count} of them`;
}

/** Names for a message: the first few and how many more. */
export function listNames(names: readonly string[], most = 12): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/**
 * True for `name#k`, a value that the graph names again later (or would have, had the run gone on), of a name
 * that is known.
 */
function isEarlier(
  name: string,
  { mayLackValuesFrom }: ForeignSource,
  names: ReadonlyMap<string, unknown>,
  map: CompiledNameMap,
): boolean {
  const plain = /^(.+)#\d+$/.exec(name)?.[1];
  if (plain === undefined || !(names.has(plain) || mayLackValuesFrom !== undefined)) return false;
  return map.ignores(plain) || map.resolve(plain, 1).length > 0;
}

function countBlocks(
  names: readonly string[],
  map: CompiledNameMap,
  targets: ReadonlyMap<string, TapSpec> | undefined,
): number | undefined {
  const taps =
    targets === undefined
      ? names.flatMap((name) => map.resolve(name, undefined).map(({ tap }) => tap))
      : [...targets.keys()];
  const last = taps.reduce((most, tap) => Math.max(most, blockOfTap(tap) ?? -1), -1);
  return last < 0 ? undefined : last + 1;
}
