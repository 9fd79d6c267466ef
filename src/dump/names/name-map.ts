/**
 * Name maps: which value of another program is which tap, and in which layout. A map is data (a JSON file or one of the built-in ones), so that a port
 * with names of its own needs no code.
 */
import { ZayascopeError } from '../../errors.js';
import type { Transform } from '../import/layout.js';

/** One rule. Several may match a name: a value can be the source of several taps. */
export interface NameRule {
  /**
   * Pattern of the other program's names. `{l}` stands for the block number, `{2l}`, `{2l+1}`, `{l-1}` for a number that follows from it, `{rest}` for any
   * rest (such a rule counts only where no other matches), `*` for anything within a segment (segments end at `.` and `:`).
   */
  from: string;
  /** The tap, with `{l}` and `{rest}` as in `from`; `{last}` is the last block. */
  tap: string;
  /** Default: the axes are the tap's, heads split or merged. */
  layout?: readonly Transform[];
  /** The value is one per step, not one per token. */
  scope?: 'step';
  /** The value may hold the first entries of the tap's last axis only (a trimmed vocabulary, 16 of 17 classes). */
  prefix?: true;
  /** Infinities are part of the value by design: a mask, masked scores. */
  masked?: true;
}

/** A map. Where several names lead to one tap, the first rule that has a name wins. */
export interface NameMap {
  name: string;
  rules: readonly NameRule[];
  /** Patterns as in `from` of values that are known to be no tap. */
  ignore?: readonly string[];
}

/** A tap that a name leads to. */
export interface Resolved {
  tap: string;
  rule: NameRule;
  /** Place of the rule in the map; lower wins. */
  priority: number;
}

/** A map ready for look-ups. */
export interface CompiledNameMap {
  name: string;
  /** Every tap that the name leads to. @param blocks decoder blocks, for `{last}`; rules with it do not match where it is undefined. */
  resolve(name: string, blocks: number | undefined): Resolved[];
  ignores(name: string): boolean;
  /** True for taps of which the other program may hold the first entries of the last axis only. */
  mayBePrefix(tap: string): boolean;
}

/** Compiles a map. Throws `BAD_ARGUMENT` naming the pattern at fault. */
export function compileNameMap(map: NameMap): CompiledNameMap {
  const rules = map.rules.map((rule, priority) => {
    const match = compileName(rule.from);
    const needs = [...rule.tap.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name!);
    const unknown = needs.find((name) => !['l', 'rest', 'last'].includes(name));
    if (unknown !== undefined) throw badPattern(rule.tap, '{l}, {rest} or {last} in a tap', `{${unknown}}`);
    if (needs.includes('l') && !/\{\d*l([+-]\d+)?\}/.test(rule.from))
      throw badPattern(rule.from, 'a block number, as in {l}, for the {l} of its tap', 'none');
    return { rule, priority, match };
  });
  const ignored = (map.ignore ?? []).map(compileName);
  const prefixes = map.rules
    .filter(({ prefix }) => prefix)
    .map(({ tap }) => compileName(tap.replace('{last}', '{l}')));
  return {
    name: map.name,
    resolve(name, blocks) {
      const found: Resolved[] = [];
      for (const { rule, priority, match } of rules) {
        const matched = match(name);
        if (matched === undefined || (rule.tap.includes('{last}') && blocks === undefined)) continue;
        const tap = rule.tap
          .replace('{l}', String(matched.block))
          .replace('{last}', String((blocks ?? 1) - 1))
          .replace('{rest}', () => matched.rest);
        found.push({ tap, rule, priority });
      }
      // `{rest}` is what is left: it adds nothing to a name that a rule of its own matches.
      const own = found.filter(({ rule }) => !rule.from.includes('{rest}'));
      return own.length > 0 ? own : found;
    },
    ignores: (name) => ignored.some((match) => match(name) !== undefined),
    mayBePrefix: (tap) => prefixes.some((match) => match(tap) !== undefined),
  };
}

/** Block of a tap, which its name tells: null for taps of embedding and head, and for names that are none. */
export function blockOfTap(tap: string): number | null {
  const match = /^layers\.(0|[1-9]\d{0,5})(?=[.:]|$)/.exec(tap);
  return match === null ? null : Number(match[1]);
}

/** Compiles a pattern of names; see {@link NameRule.from}. */
function compileName(pattern: string): (name: string) => { block: number; rest: string } | undefined {
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
  return (name) => {
    const groups = expression.exec(name);
    if (groups === null) return undefined;
    const { number, rest = '' } = groups.groups ?? {};
    if (numbers === undefined) return { block: 0, rest };
    const block = (Number(number) - numbers.offset) / numbers.factor;
    return Number.isInteger(block) && block >= 0 ? { block, rest } : undefined;
  };
}

function badPattern(pattern: string, expected: string, got: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `nameMap: expected ${expected}, got ${got} ('${pattern}')`, {
    op: 'nameMap',
  });
}
