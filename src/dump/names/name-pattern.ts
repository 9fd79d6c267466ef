/** Patterns of other programs' names, as maps and orders have them. */
import { badArgument, type ZayascopeError } from '../../errors.js';

/** What a pattern found in a name. */
export interface NameMatch {
  /** 0 where the pattern has no block's number. */
  block: number;
  /** What `{rest}` stands for; empty without one. */
  rest: string;
}

/** A pattern ready for look-ups. */
export interface NamePattern {
  /** True if it has a block's number. */
  hasBlock: boolean;
  match(name: string): NameMatch | undefined;
}

/** Characters of a pattern. */
const MAX_LENGTH = 10_000;

/** One part of a pattern. */
type Part =
  | { kind: 'text'; text: string }
  /** Anything within a segment. */
  | { kind: 'star' }
  /** A number without leading zeros, of up to seven digits. */
  | { kind: 'number' }
  /** Anything. */
  | { kind: 'rest' };

/**
 * Compiles a pattern of names; see `NameRule.from`. Matching takes time that grows with the product of name
 * and pattern, never more. Throws `BAD_ARGUMENT`.
 */
export function compileNamePattern(pattern: string): NamePattern {
  if (pattern.length > MAX_LENGTH)
    throw badPattern(
      `${pattern.slice(0, 120)}...`,
      `at most ${MAX_LENGTH} characters`,
      String(pattern.length),
    );
  const parts: Part[] = [];
  let numbers: { factor: number; offset: number } | undefined;
  let hasRest = false;
  for (const [part] of pattern.matchAll(/\{[^}]*\}|\*|[^{*]+|\{/g)) {
    const number = /^\{(\d*)l([+-]\d+)?\}$/.exec(part);
    if (number !== null && numbers === undefined) {
      numbers = { factor: Number(number[1] || 1), offset: Number(number[2] ?? 0) };
      parts.push({ kind: 'number' });
    } else if (part === '{rest}' && !hasRest) {
      hasRest = true;
      parts.push({ kind: 'rest' });
    } else if (part === '*') parts.push({ kind: 'star' });
    else if (part.startsWith('{')) throw badPattern(pattern, 'one {l} and one {rest} at most', part);
    else parts.push({ kind: 'text', text: part });
  }
  // Most names differ from a pattern in its first or last letters: those need no search.
  const [head, tail] = [textOf(parts[0]), textOf(parts.at(-1))];
  const match = (name: string): NameMatch | undefined => {
    if (!name.startsWith(head) || !name.endsWith(tail)) return undefined;
    const found = matchParts(parts, name);
    if (found === undefined) return undefined;
    const { rest = '', number } = found;
    if (numbers === undefined) return { block: 0, rest };
    const block = (Number(number) - numbers.offset) / numbers.factor;
    return Number.isInteger(block) && block >= 0 ? { block, rest } : undefined;
  };
  return { hasBlock: numbers !== undefined, match };
}

function textOf(part: Part | undefined): string {
  return part?.kind === 'text' ? part.text : '';
}

/**
 * What number and rest of a match are: of several ways the one in which each part, from the first on, takes
 * as much as it can. From the end on, what each part can begin at is found first, so that no way is tried
 * twice.
 */
function matchParts(parts: readonly Part[], name: string): { number?: string; rest?: string } | undefined {
  const length = name.length;
  const can: Uint8Array[] = [new Uint8Array(length + 1)];
  can[0]![length] = 1;
  for (const part of parts.toReversed()) {
    const after = can[0]!;
    const own = new Uint8Array(length + 1);
    for (let at = length; at >= 0; at--)
      own[at] = Number(
        takes(part, name, at).some((count) => (count === STAY ? own[at + 1] : after[at + count]) === 1),
      );
    can.unshift(own);
  }
  if (can[0]![0] === 0) return undefined;
  const found: { number?: string; rest?: string } = {};
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const start = at;
    for (;;) {
      const reaches = (count: number) =>
        (count === STAY ? can[index]![at + 1] : can[index + 1]![at + count]) === 1;
      const count = takes(part, name, at).find(reaches)!;
      at += count === STAY ? 1 : count;
      if (count !== STAY) break;
    }
    if (part.kind === 'number' || part.kind === 'rest') found[part.kind] = name.slice(start, at);
  }
  return found;
}

/** Takes one character and goes on with the same part. */
const STAY = -1;

/** How many characters a part may take at a place, the most first. */
function takes(part: Part, name: string, at: number): number[] {
  const char = name[at];
  switch (part.kind) {
    case 'text':
      return name.startsWith(part.text, at) ? [part.text.length] : [];
    case 'star':
      return char !== undefined && char !== '.' && char !== ':' ? [STAY, 0] : [0];
    case 'rest':
      return char !== undefined ? [STAY, 0] : [0];
    case 'number': {
      if (char === '0') return [1];
      const digits = /^[1-9]\d{0,6}/.exec(name.slice(at, at + 7))?.[0].length ?? 0;
      return Array.from({ length: digits }, (_, k) => digits - k);
    }
  }
}

/** The error of a pattern that cannot be read. */
export function badPattern(pattern: string, expected: string, got: string): ZayascopeError {
  return badArgument('nameMap', expected, `${got} ('${pattern}')`);
}
