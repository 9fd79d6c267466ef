/**
 * The one glob dialect for tap names, used by capture, diff and the command line. Tap names are not paths (`.` and `:` separate, `/` does not
 * occur) and numeric ranges count blocks, so path globbers such as picomatch do not fit.
 */
import { ZayascopeError } from './errors.js';

/** Numeric ranges longer than this are taken for a typing error. */
const MAX_RANGE = 10_000;

/**
 * Compiles a tap pattern: a comma-separated list of globs, of which one must match the whole name.
 *
 * `*` matches within a segment (segments end at `.` and `:`), `**` anything, `?` one character of a segment, `{a,b}` alternatives (nestable),
 * `{0..3}` the numbers 0 to 3. Everything else stands for itself, spaces around commas of the list excepted.
 * Throws `BAD_ARGUMENT` for an empty glob, an unbalanced or empty brace, or a range that runs backwards.
 *
 * @example tapPattern('layers.{0..3}.mlp.**,lm_head')('layers.2.mlp.gate:expert') // true
 */
export function tapPattern(pattern: string): (name: string) => boolean {
  const sources = splitTop(pattern, pattern).map((glob) => {
    if (glob.trim() === '') throw badPattern(pattern, 'a glob', 'nothing between commas');
    return globSource(glob.trim(), pattern);
  });
  const expression = new RegExp(`^(?:${sources.join('|')})$`, 'su');
  return (name) => expression.test(name);
}

/** The globs of a tap pattern, one by one. Throws as {@link tapPattern} does for unbalanced braces. */
export function patternGlobs(pattern: string): string[] {
  return splitTop(pattern, pattern).map((glob) => glob.trim());
}

function globSource(glob: string, pattern: string): string {
  let source = '';
  for (let at = 0; at < glob.length; ) {
    const char = glob[at]!;
    if (glob.startsWith('**', at)) {
      source += '.*';
      while (glob[at] === '*') at++;
    } else if (char === '{') {
      const end = closingBrace(glob, at, pattern);
      source += braceSource(glob.slice(at + 1, end), pattern);
      at = end + 1;
    } else {
      if (char === '*') source += '[^.:]*';
      else if (char === '?') source += '[^.:]';
      else source += char.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
      at++;
    }
  }
  return source;
}

function braceSource(body: string, pattern: string): string {
  const range = /^(\d+)\.\.(\d+)$/.exec(body);
  if (range === null) {
    const options = splitTop(body, pattern);
    if (options.every((option) => option === ''))
      throw badPattern(pattern, 'alternatives in braces', `{${body}}`);
    return `(?:${options.map((option) => globSource(option, pattern)).join('|')})`;
  }
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (last < first || last - first >= MAX_RANGE) throw badPattern(pattern, 'a rising range', `{${body}}`);
  return `(?:${Array.from({ length: last - first + 1 }, (_, k) => first + k).join('|')})`;
}

/** Splits at the commas that are outside braces. */
function splitTop(text: string, pattern: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '{') at = closingBrace(text, at, pattern);
    else if (text[at] === '}') throw badPattern(pattern, 'balanced braces', "a '}' too many");
    else if (text[at] === ',') {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

function closingBrace(text: string, open: number, pattern: string): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === '{') depth++;
    else if (text[at] === '}' && --depth === 0) return at;
  }
  throw badPattern(pattern, 'balanced braces', "a '{' that is not closed");
}

function badPattern(pattern: string, expected: string, got: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `tapPattern: expected ${expected}, got ${got} ('${pattern}')`, {
    op: 'tapPattern',
  });
}
