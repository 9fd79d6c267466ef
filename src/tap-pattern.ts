/**
 * The one glob dialect for tap names, used by capture, diff and the command line. Tap names are not paths
 * (`.` and `:` separate, `/` does not occur) and numeric ranges count blocks, so path globbers such as
 * picomatch do not fit. `dumps/reference/tap_pattern.py` is the same dialect.
 */
import { badArgument, type ZayascopeError } from './errors.js';
import { type GlobPart, matcherOf } from './tap-matcher.js';

/** Numeric ranges longer than this are taken for a typing error. */
const MAX_RANGE = 10_000;
/** Braces nested deeper than this are taken for one too. */
const MAX_DEPTH = 100;
/** Characters of a pattern: beyond it no person or program of ours has written it. */
const MAX_LENGTH = 1_000_000;
/** `*` and `?` of a pattern: matching takes time in proportion to them. */
const MAX_WILDCARDS = 1000;
/** Of a longer pattern an error shows its start. */
const SHOWN = 120;

/**
 * Compiles a tap pattern: a comma-separated list of globs, of which one must match the whole name. Matching
 * takes time that grows with the product of name and pattern, never more.
 *
 * `*` matches within a segment (segments end at `.` and `:`), `**` anything, `?` one character of a segment,
 * `{a,b}` alternatives (nestable), `{0..3}` the numbers 0 to 3. Everything else stands for itself, spaces
 * around commas of the list excepted. Throws `BAD_ARGUMENT` for an empty glob, an unbalanced or empty brace,
 * braces nested more than 100 deep, more than 1,000 wildcards, a range that runs backwards or has more than
 * 10,000 numbers.
 *
 * @example tapPattern('layers.{0..3}.mlp.**,lm_head')('layers.2.mlp.experts:down') // true
 */
export function tapPattern(pattern: string): (name: string) => boolean {
  const whole = new Set<string>();
  const options: GlobPart[][] = [];
  for (const glob of patternGlobs(pattern)) {
    if (glob === '') throw badPattern(pattern, 'a glob', 'nothing between commas');
    // Most globs of a list are names.
    if (!/[*?{}]/.test(glob)) whole.add(glob);
    else options.push(new GlobReader(glob, pattern).read());
  }
  if (options.some(([first, ...more]) => first?.kind === 'any' && more.length === 0)) return () => true;
  const matchers = options.map(matcherOf);
  return (name) => whole.has(name) || matchers.some((matches) => matches(name));
}

/** The globs of a tap pattern, one by one. Throws as {@link tapPattern} does for unbalanced braces. */
export function patternGlobs(pattern: string): string[] {
  if (pattern.length > MAX_LENGTH)
    throw badPattern(pattern, `at most ${MAX_LENGTH} characters`, String(pattern.length));
  const wildcards = pattern.match(/[*?]/g)?.length ?? 0;
  if (wildcards > MAX_WILDCARDS)
    throw badPattern(pattern, `at most ${MAX_WILDCARDS} of * and ?`, String(wildcards));
  const globs: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === '{') depth++;
    else if (char === '}' && --depth < 0) throw badPattern(pattern, 'balanced braces', "a '}' too many");
    else if (char === ',' && depth === 0) {
      globs.push(pattern.slice(start, at).trim());
      start = at + 1;
    }
  }
  if (depth > 0) throw badPattern(pattern, 'balanced braces', "a '{' that is not closed");
  return [...globs, pattern.slice(start).trim()];
}

/** Reads one glob, whose braces are balanced, in one pass. */
class GlobReader {
  readonly #glob: string;
  readonly #pattern: string;
  #at = 0;

  constructor(glob: string, pattern: string) {
    this.#glob = glob;
    this.#pattern = pattern;
  }

  /** The parts up to the end, or inside braces up to a comma or the brace that closes. */
  read(depth = 0): GlobPart[] {
    const parts: GlobPart[] = [];
    while (this.#at < this.#glob.length) {
      const char = this.#glob[this.#at]!;
      if (depth > 0 && (char === ',' || char === '}')) break;
      if (char === '{') parts.push(this.#braces(depth + 1));
      else if (char === '*') parts.push(this.#stars());
      else {
        const code = this.#glob.codePointAt(this.#at)!;
        this.#at += code > 0xffff ? 2 : 1;
        parts.push(char === '?' ? { kind: 'one' } : { kind: 'literal', code });
      }
    }
    return parts;
  }

  #stars(): GlobPart {
    const start = this.#at;
    while (this.#glob[this.#at] === '*') this.#at++;
    return { kind: this.#at - start > 1 ? 'any' : 'segment' };
  }

  #braces(depth: number): GlobPart {
    if (depth > MAX_DEPTH)
      throw badPattern(this.#pattern, `braces nested at most ${MAX_DEPTH} deep`, 'deeper ones');
    const range = /\{(\d+)\.\.(\d+)\}/y;
    range.lastIndex = this.#at;
    const found = range.exec(this.#glob);
    if (found !== null) {
      this.#at = range.lastIndex;
      return this.#range(Number(found[1]), Number(found[2]), found[0]);
    }
    const start = this.#at++;
    const options = [this.read(depth)];
    while (this.#glob[this.#at] === ',') {
      this.#at++;
      options.push(this.read(depth));
    }
    this.#at++; // the brace that closes
    if (options.every(({ length }) => length === 0))
      throw badPattern(this.#pattern, 'alternatives in braces', this.#glob.slice(start, this.#at));
    return { kind: 'either', options };
  }

  #range(first: number, last: number, text: string): GlobPart {
    if (!Number.isSafeInteger(last) || last < first || last - first >= MAX_RANGE)
      throw badPattern(this.#pattern, `a rising range of at most ${MAX_RANGE} numbers`, text);
    return { kind: 'number', first, last };
  }
}

function badPattern(pattern: string, expected: string, got: string): ZayascopeError {
  const cut = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text);
  return badArgument('tapPattern', expected, `${cut(got)} ('${cut(pattern)}')`);
}
