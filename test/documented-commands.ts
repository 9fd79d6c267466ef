/** Commands as documents show them, and what they say that is printed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** A command in a code block. */
export interface DocumentedCommand {
  /** As written, without `$ `. */
  command: string;
  /** What stands below a `$ ` line; undefined for commands without one, whose output is not shown. */
  output: string | undefined;
}

/** Code blocks of a language, or those without one. */
export function codeBlocks(document: string, language = ''): string[] {
  return [...readFileSync(join(root, document), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(([, given]) => given === language)
    .map(([, , text]) => text!);
}

/**
 * The `zayascope` commands of a document, in order. A block that begins with `$ ` holds one command and its
 * output; any other line that begins with `zayascope ` is one alone.
 */
export function documentedCommands(document: string): DocumentedCommand[] {
  return codeBlocks(document).flatMap((text): DocumentedCommand[] => {
    const [first, ...rest] = text.trimEnd().split('\n');
    if (first!.startsWith('$ ')) return [{ command: first!.slice(2), output: rest.join('\n') }];
    return [first!, ...rest]
      .filter((line) => line.startsWith('zayascope '))
      .map((command) => ({ command, output: undefined }));
  });
}

/** Figures of this size are what rounding leaves, which differs between processors. */
const ROUNDING = 1e-11;
/** Two digits are printed of a figure, and rounding errors of F16 vary with the order of sums. */
const RELATIVE = 0.25;
const NUMBER = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g;

/**
 * The first line of `shown` that `printed` does not have, or undefined. Spaces between columns and empty
 * lines do not count; whole numbers must be the same, others within a quarter of each other unless both are
 * below 1e-11. A line `...` stands for any lines.
 */
export function firstMismatch(shown: string, printed: string): string | undefined {
  const linesOf = (text: string) => text.split('\n').filter((line) => line.trim() !== '');
  const lines = linesOf(printed);
  let at = 0;
  let skips = false;
  for (const line of linesOf(shown)) {
    if (line === '...') {
      skips = true;
      continue;
    }
    const found = lines.findIndex((other, index) => index >= at && isSameLine(line, other));
    if (found < 0 || (!skips && found !== at)) return `${line}\n(printed: ${lines[at] ?? 'nothing more'})`;
    at = found + 1;
    skips = false;
  }
  return at === lines.length || skips ? undefined : `nothing more\n(printed: ${lines[at]})`;
}

function isSameLine(shown: string, printed: string): boolean {
  const words = (line: string) => line.replace(NUMBER, '#').replace(/\s+/g, ' ').trim();
  const numbers = (line: string): readonly string[] => line.match(NUMBER) ?? [];
  const others = numbers(printed);
  return (
    words(shown) === words(printed) &&
    numbers(shown).every((number, index) => isSameNumber(number, others[index]!))
  );
}

function isSameNumber(shown: string, printed: string): boolean {
  if (/^-?\d+$/.test(shown))
    return shown === printed || (Math.abs(Number(printed)) < ROUNDING && shown === '0');
  const [a, b] = [Number(shown), Number(printed)];
  const largest = Math.max(Math.abs(a), Math.abs(b));
  return largest < ROUNDING || Math.abs(a - b) <= RELATIVE * largest;
}
