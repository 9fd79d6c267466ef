/** Which tokens the values of a source belong to. */
import { type ForeignSource, type ForeignValue, importError } from './foreign.js';

/** Far more than any context; a row takes about 180 bytes of memory, and a line of the manifest. */
const MAX_TOKENS = 1 << 22;

/** One forward step of one sequence. */
export interface ImportStep {
  /** Number of the forward call, which steps of several sequences share. */
  call: number;
  sequence: number;
  /** Position of its first token. */
  start: number;
  count: number;
  /** Rows of which logits were asked for, where those are not all. */
  outputs: readonly number[] | undefined;
}

/** The sequences of an import. */
export interface ImportSequences {
  steps: readonly ImportStep[];
  /** Ids of all tokens of each; zeros where they are not known. */
  tokens: readonly (readonly number[])[];
  isKnown: boolean;
}

/**
 * Puts together what the source and the user say of the tokens.
 * @param given ids from the user, of all sequences one after the other; they win where the source has none
 * and must agree where it does.
 * @throws `BAD_ARGUMENT` for counts or ids that contradict each other, or that nothing tells.
 */
export function importSequences(
  source: ForeignSource,
  given: readonly number[] | undefined,
): ImportSequences {
  const own = sourceTokens(source);
  if (given !== undefined && own !== undefined && given.join() !== own.flat().join())
    throw importError('BAD_ARGUMENT', 'the token ids that the source has', 'others', source.name);
  const told = source.steps ?? [{ count: given?.length ?? guessCount(source) }];
  const several = told.some(({ sequence = 0 }) => sequence > 0);
  const total = told.reduce((sum, { count }) => sum + count, 0);
  if (total > MAX_TOKENS)
    throw importError(
      'BAD_ARGUMENT',
      `at most ${MAX_TOKENS} tokens (is the first axis of its values the token axis?)`,
      `${total}`,
      source.name,
    );
  const length = (given ?? own?.flat())?.length ?? total;
  if (length < total || (length > total && !source.mayLackFirstRows))
    throw importError('BAD_ARGUMENT', `ids of ${total} tokens`, `${length}`, source.name);
  const next = new Map<number, number>([[0, several ? 0 : length - total]]);
  const steps = told.map(({ count, call, sequence = 0, start, outputs }, number): ImportStep => {
    const first = start ?? next.get(sequence) ?? 0;
    next.set(sequence, first + count);
    return { call: call ?? number, sequence, start: first, count, outputs };
  });
  const tokens = own ?? [given ?? new Array<number>(length).fill(0)];
  return { steps, tokens, isKnown: given !== undefined || own !== undefined };
}

/** Ids by sequence; undefined where a step has none. */
function sourceTokens({ steps }: ForeignSource): number[][] | undefined {
  if (steps === undefined || steps.some(({ tokens }) => tokens === undefined)) return undefined;
  const found: number[][] = [];
  for (const { sequence = 0, tokens } of steps) {
    found[sequence] ??= [];
    found[sequence].push(...tokens!);
  }
  return found;
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
