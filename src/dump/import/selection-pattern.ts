import { numberRuns } from '../../number-runs.js';

/**
 * A tap pattern that matches exactly `names` (names with a comma or a brace excepted: those characters become
 * `?`), with runs of blocks as ranges. It is the selection of a dump whose producer chose what to write: what
 * is not in it was not captured, rather than lost.
 */
export function selectionPattern(names: readonly string[]): string {
  const blocks = new Map<string, number[]>();
  const globs: string[] = [];
  for (const name of names) {
    const match = /^layers\.(\d+)(.*)$/s.exec(name);
    if (match === null) globs.push(globOf(name));
    else {
      const suffix = globOf(match[2]!);
      blocks.set(suffix, [...(blocks.get(suffix) ?? []), Number(match[1])]);
    }
  }
  for (const [suffix, numbers] of blocks)
    for (const { first, last } of numberRuns(numbers.sort((a, b) => a - b)))
      globs.push(`layers.${first === last ? first : `{${first}..${last}}`}${suffix}`);
  return globs.join(',');
}

/** A pattern has no escape character; `?` stands for any of these. */
function globOf(name: string): string {
  return name.replaceAll(/[,{}*]/g, '?');
}
