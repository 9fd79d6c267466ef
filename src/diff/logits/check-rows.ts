import { unmet, type ZayascopeError } from '../../errors.js';
import type { LogitsSource } from './check-source.js';

/** Rows of two sides to compare. */
export interface PairedRows {
  /** Indices into the rows of both sides. */
  pairs: [reference: number, tested: number][];
  /** What was left out. */
  note?: string;
}

/**
 * Which rows of two sides to compare: those of the last token of each sequence, or `all`, in order of
 * sequence and position. A file of llama-perplexity lacks the last token of each chunk: all the rows that it
 * shares with the other side are compared.
 *
 * @throws `BAD_ARGUMENT` with `all` for a raw file of one row; `UNPAIRED` where one side lacks a row that the
 * other has, or the last token's.
 */
export function pairLogitsRows(reference: LogitsSource, tested: LogitsSource, all: boolean): PairedRows {
  if (reference.kind === 'perplexity file' || tested.kind === 'perplexity file')
    return sharedRows(reference, tested);
  const left = all ? allRows(reference) : lastRows(reference);
  const right = all ? allRows(tested) : lastRows(tested);
  const keys = [...left.keys()];
  const unpaired = [...keys, ...right.keys()].find((key) => !left.has(key) || !right.has(key));
  if (unpaired !== undefined) {
    const { name } = left.has(unpaired) ? reference : tested;
    throw failure('UNPAIRED', 'the same rows of logits on both sides', `${unpaired} in ${name} only`);
  }
  if (keys.length === 0) throw failure('UNPAIRED', 'at least one row of logits', 'none');
  return { pairs: keys.map((key) => [left.get(key)!, right.get(key)!]) };
}

function sharedRows(reference: LogitsSource, tested: LogitsSource): PairedRows {
  const [left, right] = [allRows(reference), allRows(tested)];
  const pairs = [...left].flatMap(([key, index]): [number, number][] => {
    const other = right.get(key);
    return other === undefined ? [] : [[index, other]];
  });
  if (pairs.length === 0)
    throw failure(
      'UNPAIRED',
      'a row of the same chunk and position on both sides (sequence k of a dump is chunk k)',
      `none of ${left.size} in ${reference.name} and ${right.size} in ${tested.name}`,
    );
  const most = Math.max(left.size, right.size);
  return pairs.length === most
    ? { pairs }
    : { pairs, note: `${pairs.length} rows that both sides have are compared, of ${most}` };
}

function allRows(source: LogitsSource): Map<string, number> {
  const { rows, kind, name } = source;
  if (kind === 'raw file' && rows.length === 1)
    throw failure(
      'BAD_ARGUMENT',
      'logits of all positions (of a raw file also the length of a row)',
      `a single row in ${name}`,
    );
  return new Map(
    ordered(source).map((index) => {
      const { sequence, position } = rows[index]!;
      return [`sequence ${sequence} position ${position}`, index];
    }),
  );
}

/** By sequence alone: a raw file of one row may not know its position. */
function lastRows(source: LogitsSource): Map<string, number> {
  const { rows, tokens, name } = source;
  const last = new Map(ordered(source).map((index) => [rows[index]!.sequence, index]));
  return new Map(
    [...last].map(([sequence, index]) => {
      const { position } = rows[index]!;
      const end = (tokens?.[sequence]?.length ?? 0) - 1;
      if (position >= 0 && end >= 0 && position !== end)
        throw failure(
          'UNPAIRED',
          `logits of position ${end}, the last token`,
          `none after ${position} in ${name}`,
        );
      return [`the last token of sequence ${sequence}`, index];
    }),
  );
}

function ordered({ rows }: LogitsSource): number[] {
  return rows
    .map((_, index) => index)
    .sort((a, b) => rows[a]!.sequence - rows[b]!.sequence || rows[a]!.position - rows[b]!.position);
}

function failure(code: 'BAD_ARGUMENT' | 'UNPAIRED', expected: string, got: string): ZayascopeError {
  return unmet(code, 'verifyLogits', expected, got);
}
