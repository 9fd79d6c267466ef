/**
 * Name maps: which value of another program is which tap, and in which layout. A map is data (a JSON file or
 * one of the built-in ones), so that a port with names of its own needs no code.
 */
import type { Transform } from '../import/layout.js';
import { badPattern, compileNamePattern } from './name-pattern.js';

/** One rule. Several may match a name: a value can be the source of several taps. */
export interface NameRule {
  /**
   * Pattern of the other program's names. `{l}` stands for the block number, `{2l}`, `{2l+1}`, `{l-1}` for a
   * number that follows from it, `{rest}` for any rest (such a rule counts only where no other matches), `*`
   * for anything within a segment (segments end at `.` and `:`).
   */
  from: string;
  /** The tap, with `{l}` and `{rest}` as in `from`; `{last}` is the last block. */
  tap: string;
  /** Default: the axes are the tap's, heads split or merged. */
  layout?: readonly Transform[];
  /** The value is one per step, not one per token. */
  scope?: 'step';
  /**
   * The value may hold the first entries of the tap's last axis only (a trimmed vocabulary, 16 of 17
   * classes).
   */
  prefix?: true;
  /** Infinities are part of the value by design: a mask, masked scores. */
  masked?: true;
  /** What speaks for the rule; for readers only. */
  evidence?: RuleEvidence;
}

/** What `align` found the pairs of a rule by. */
export interface RuleEvidence {
  /** Agreement of elements, the same place in both graphs, or that both dumps say what it is. */
  by: 'elements' | 'tokens' | 'neighbours' | 'role';
  /** Pairs that the rule stands for. */
  values: number;
  /** Their largest error: squared differences over the reference's variance; null for infinity. */
  error: number | null;
  /** The nearest other value of either side, of all pairs. */
  next?: { from?: string; tap?: string; error: number | null };
}

/** What `align` found, and what it did not. */
export interface MapEvidence {
  /** Tokens of the call that was compared. */
  tokens: number;
  /** Taps that have a partner. */
  paired: number;
  /** Values of the reference without one, with the nearest of the other side. */
  open: readonly {
    taps: readonly string[];
    candidates: readonly { from: string; error: number | null }[];
  }[];
}

/** A map. Where several names lead to one tap, the first rule that has a name wins. */
export interface NameMap {
  /** 2 for maps with evidence. Default 1. */
  version?: 1 | 2;
  name: string;
  rules: readonly NameRule[];
  /** Patterns as in `from` of values that are known to be no tap. */
  ignore?: readonly string[];
  /**
   * The order in which taps are computed: tap names, or patterns as in `from`; those with `{l}` that stand
   * together repeat for each block. Default: what `family` says, or unknown.
   */
  order?: readonly string[];
  /** The family whose taps these are: its order of execution is known. */
  family?: string;
  /** What speaks for the map as a whole; for readers only. */
  evidence?: MapEvidence;
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
  /**
   * Every tap that the name leads to. @param blocks decoder blocks, for `{last}`; rules with it do not match
   * where it is undefined.
   */
  resolve(name: string, blocks: number | undefined): Resolved[];
  ignores(name: string): boolean;
  /** True for taps of which the other program may hold the first entries of the last axis only. */
  mayBePrefix(tap: string): boolean;
}

/** Compiles a map. Throws `BAD_ARGUMENT` naming the pattern at fault. */
export function compileNameMap(map: NameMap): CompiledNameMap {
  const rules = map.rules.map((rule, priority) => {
    const match = compileNamePattern(rule.from).match;
    const needs = [...rule.tap.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name!);
    const unknown = needs.find((name) => !['l', 'rest', 'last'].includes(name));
    if (unknown !== undefined) throw badPattern(rule.tap, '{l}, {rest} or {last} in a tap', `{${unknown}}`);
    if (needs.includes('l') && !/\{\d*l([+-]\d+)?\}/.test(rule.from))
      throw badPattern(rule.from, 'a block number, as in {l}, for the {l} of its tap', 'none');
    return { rule, priority, match };
  });
  const ignored = (map.ignore ?? []).map((pattern) => compileNamePattern(pattern).match);
  const prefixes = map.rules
    .filter(({ prefix }) => prefix)
    .map(({ tap }) => compileNamePattern(tap.replace('{last}', '{l}')).match);
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
