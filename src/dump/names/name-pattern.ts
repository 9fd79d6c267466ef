/** Patterns of other programs' names, as maps and orders have them. */
import { ZayascopeError } from '../../errors.js';

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

/** Compiles a pattern of names; see `NameRule.from`. Throws `BAD_ARGUMENT`. */
export function compileNamePattern(pattern: string): NamePattern {
  let source = '';
  let numbers: { factor: number; offset: number } | undefined;
  let hasRest = false;
  for (const [part] of pattern.matchAll(/\{[^}]*\}|\*|[^{*]+|\{/g)) {
    const number = /^\{(\d*)l([+-]\d+)?\}$/.exec(part);
    if (number !== null && numbers === undefined) {
      numbers = { factor: Number(number[1] || 1), offset: Number(number[2] ?? 0) };
      source += '(?<number>0|[1-9]\\d{0,6})';
    } else if (part === '{rest}' && !hasRest) {
      hasRest = true;
      source += '(?<rest>.*)';
    } else if (part === '*') source += '[^.:]*';
    else if (part.startsWith('{')) throw badPattern(pattern, 'one {l} and one {rest} at most', part);
    else source += part.replace(/[\\^$.+?()[\]}|/-]/g, '\\$&');
  }
  const expression = new RegExp(`^${source}$`, 's');
  const match = (name: string): NameMatch | undefined => {
    const groups = expression.exec(name);
    if (groups === null) return undefined;
    const { number, rest = '' } = groups.groups ?? {};
    if (numbers === undefined) return { block: 0, rest };
    const block = (Number(number) - numbers.offset) / numbers.factor;
    return Number.isInteger(block) && block >= 0 ? { block, rest } : undefined;
  };
  return { hasBlock: numbers !== undefined, match };
}

/** The error of a pattern that cannot be read. */
export function badPattern(pattern: string, expected: string, got: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `nameMap: expected ${expected}, got ${got} ('${pattern}')`, {
    op: 'nameMap',
  });
}
