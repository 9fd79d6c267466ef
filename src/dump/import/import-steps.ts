/** Which tokens the values of a source belong to. */
import { type ForeignSource, type ForeignValue, importError } from './foreign.js';

/** One forward step of the sequence. */
export interface ImportStep {
  /** Position of its first token. */
  start: number;
  count: number;
}

/** The sequence of an import. */
export interface ImportSequence {
  steps: readonly ImportStep[];
  /** Ids of all tokens; zeros where they are not known. */
  tokens: readonly number[];
  isKnown: boolean;
}

/**
 * Puts together what the source and the user say of the tokens.
 * @param given ids from the user; they win where the source has none and must agree where it does.
 * @throws `BAD_ARGUMENT` for counts or ids that contradict each other, or that nothing tells.
 */
export function importSequence(source: ForeignSource, given: readonly number[] | undefined): ImportSequence {
  const own = sourceTokens(source);
  const tokens = given ?? own;
  if (given !== undefined && own !== undefined && given.join() !== own.join())
    throw importError('BAD_ARGUMENT', 'the token ids that the source has', 'others', source.name);
  const counts = source.steps?.map(({ count }) => count) ?? [tokens?.length ?? guessCount(source)];
  const total = counts.reduce((sum, count) => sum + count, 0);
  const length = tokens?.length ?? total;
  if (length < total || (length > total && !source.mayLackFirstRows))
    throw importError('BAD_ARGUMENT', `ids of ${total} tokens`, `${length}`, source.name);
  let start = length - total;
  const steps = counts.map((count): ImportStep => {
    start += count;
    return { start: start - count, count };
  });
  return { steps, tokens: tokens ?? new Array<number>(length).fill(0), isKnown: tokens !== undefined };
}

function sourceTokens({ steps }: ForeignSource): number[] | undefined {
  if (steps === undefined || steps.some(({ tokens }) => tokens === undefined)) return undefined;
  return steps.flatMap(({ tokens }) => tokens!);
}

/** The number of rows that most values have: their first axis, after a batch axis of 1. */
function guessCount(source: ForeignSource): number {
  const counts = new Map<number, number>();
  for (const rows of source.values.map(firstAxis))
    if (rows !== undefined) counts.set(rows, (counts.get(rows) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  const unusable = source.values.find((value) => value.unusable !== undefined);
  if (most === undefined && unusable !== undefined)
    throw importError(
      'BAD_ARGUMENT',
      'a value that a dump can hold',
      unusable.unusable!,
      unusable.origin ?? unusable.name,
    );
  if (most === undefined)
    throw importError('BAD_ARGUMENT', 'a value with a token axis, or token ids', 'neither', source.name);
  return most[0];
}

function firstAxis({ shape, layout, unusable }: ForeignValue): number | undefined {
  if (unusable !== undefined) return undefined;
  const meant = layout === undefined ? shape : [...shape].reverse();
  return meant.length > 2 && meant[0] === 1 ? meant[1] : meant[0];
}
