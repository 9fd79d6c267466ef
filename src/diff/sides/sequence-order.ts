import { basename, resolve } from 'node:path';
import type { DumpView } from '../../dump/dump-view.js';
import { knownTokens } from '../../dump/sequences.js';

/**
 * Says that two dumps hold the same sequences in another order: rows pair by the sequence's number. null
 * where they do not.
 */
export function sequenceOrderWords(
  reference: Pick<DumpView, 'dir' | 'manifest'>,
  tested: Pick<DumpView, 'dir' | 'manifest'>,
): string | null {
  const [mine, others] = [reference, tested].map(({ manifest }) =>
    knownTokens(manifest.sequences)?.map((tokens) => tokens.join()),
  );
  if (mine === undefined || others === undefined || mine.length !== others.length) return null;
  const moved = others.findIndex((tokens, sequence) => tokens !== mine[sequence]);
  if (moved < 0 || mine.toSorted().join(' ') !== others.toSorted().join(' ')) return null;
  const [a, b] = [reference, tested].map(({ dir }) => basename(resolve(dir)));
  return `${b} has the sequences of ${a} in another order: its sequence ${moved} is sequence ${mine.indexOf(others[moved]!)} there. Run both in the same order, for rows pair by the number of the sequence.`;
}
