/** In which order an import writes its taps, and how much is known of it. */
import { badArgument, type ZayascopeError } from '../../errors.js';
import { utf8Text } from '../../utf8.js';
import { readSmallFile } from '../../weights/file-access.js';
import type { TapOrder } from '../format.js';
import { compileNamePattern } from '../names/name-pattern.js';
import { listNames } from '../names/resolve-names.js';

const OP = 'tapOrder';
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** Compares names with runs of digits as numbers: `layers.2` before `layers.10`. */
export function compareNatural(a: string, b: string): number {
  const [left, right] = [parts(a), parts(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const [x, y] = [left[at]!, right[at]!];
    if (x === y) continue;
    const bothNumbers = /^\d/.test(x) && /^\d/.test(y);
    // Numbers of any length: without leading zeros the longer one is larger.
    const difference = bothNumbers ? compareDigits(x, y) : 0;
    return difference === 0 ? (x < y ? -1 : 1) : difference;
  }
  return left.length - right.length;
}

function parts(name: string): string[] {
  return name.match(/\d+|\D+/g) ?? [];
}

function compareDigits(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+(?=\d)/, ''), b.replace(/^0+(?=\d)/, '')];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : 0);
}

/**
 * Reads an order: a JSON array of strings, or a name or pattern a line. Patterns are those of a name map
 * (`{l}` is a block's number, `*` anything within a segment, `{rest}` anything). Throws `IO` for a file that
 * cannot be read, `BAD_ARGUMENT` for other content or nothing.
 */
export async function readTapOrder(file: string): Promise<string[]> {
  const text = utf8Text(await readSmallFile(OP, file, MAX_FILE_BYTES))?.trim();
  if (text === undefined) throw bad('text in UTF-8', 'other bytes', file);
  if (!text.startsWith('['))
    return checked(
      text.split(/\r?\n/).map((line) => line.trim()),
      file,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad('valid JSON', `a syntax error: ${(cause as Error).message}`, file);
  }
  if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string'))
    throw bad('an array of strings', 'another one', file);
  return checked(value, file);
}

function checked(lines: readonly string[], file: string): string[] {
  const patterns = lines.filter((line) => line !== '');
  if (patterns.length === 0) throw bad('at least one name or pattern', 'none', file);
  return patterns;
}

/**
 * Sorts names by a list of patterns; the first that matches a name places it. Patterns with a block's number
 * that stand together are gone through for each block in turn. Names of one place are in natural order.
 * @returns the names in order, and those that no pattern matches (in natural order), which are not among
 * them.
 */
export function declaredOrder(
  names: readonly string[],
  patterns: readonly string[],
): { ordered: string[]; others: string[] } {
  const compiled = patterns.map((pattern) => ({ ...compileNamePattern(pattern) }));
  const groups: number[] = [];
  for (const [at, { hasBlock }] of compiled.entries())
    groups.push(at > 0 && hasBlock && compiled[at - 1]!.hasBlock ? groups[at - 1]! : at);
  const places = new Map<string, readonly [group: number, block: number, pattern: number]>();
  for (const name of names)
    for (const [at, { match }] of compiled.entries()) {
      const found = match(name);
      if (found === undefined) continue;
      places.set(name, [groups[at]!, found.block, at]);
      break;
    }
  const ordered = names.filter((name) => places.has(name));
  ordered.sort((a, b) => {
    const [x, y] = [places.get(a)!, places.get(b)!];
    return x[0] - y[0] || x[1] - y[1] || x[2] - y[2] || compareNatural(a, b);
  });
  return { ordered, others: names.filter((name) => !places.has(name)).sort(compareNatural) };
}

/** What is known of an order. */
export interface OrderSources {
  /** What the user declares: it must place every name. */
  declared?: readonly string[] | undefined;
  /** The model's taps, in execution order. */
  model?: readonly string[] | undefined;
  /** Patterns in execution order, of the family whose taps the map gives. */
  family?: readonly string[] | undefined;
  /** Patterns that the map declares. */
  map?: readonly string[] | undefined;
  /** True if the names came in the order in which they were computed. */
  isExecution: boolean;
}

/**
 * Orders names by the best that is known of them, and says what that is. What no list knows keeps the
 * producer's order, or without one comes last, in natural order. Throws `BAD_ARGUMENT` where a declared order
 * lacks a name.
 */
export function orderTaps(
  names: readonly string[],
  { declared, model, family, map, isExecution }: OrderSources,
): { names: string[]; order: TapOrder } {
  if (declared !== undefined) {
    const { ordered, others } = declaredOrder(names, declared);
    if (others.length > 0)
      throw bad('an order that has every tap', `none for ${others.length}: ${listNames(others)}`, '--order');
    return { names: ordered, order: 'declared' };
  }
  const known = [
    ...(model === undefined ? [] : [['execution', byList(names, model)] as const]),
    ...(family === undefined ? [] : [['execution', declaredOrder(names, family)] as const]),
    ...(map === undefined ? [] : [['declared', declaredOrder(names, map)] as const]),
  ];
  for (const [order, { ordered, others }] of known) if (others.length === 0) return { names: ordered, order };
  if (isExecution) return { names: [...names], order: 'execution' };
  const [best] = known.map(([, found]) => found).filter(({ ordered }) => ordered.length > 0);
  if (best !== undefined) return { names: [...best.ordered, ...best.others], order: 'unknown' };
  return { names: [...names].sort(compareNatural), order: 'natural' };
}

function byList(names: readonly string[], list: readonly string[]): { ordered: string[]; others: string[] } {
  const places = new Map(list.map((name, place) => [name, place]));
  const ordered = names.filter((name) => places.has(name));
  ordered.sort((a, b) => places.get(a)! - places.get(b)!);
  return { ordered, others: names.filter((name) => !places.has(name)).sort(compareNatural) };
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
