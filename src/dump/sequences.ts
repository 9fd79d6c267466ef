/** The sequences of a dump: token ids, or only how many positions there are. */

/** Token ids fed; or, where there are none or they are unknown, the number of positions. */
export interface DumpSequence {
  readonly tokens?: readonly number[];
  readonly length?: number;
}

/** Positions of a sequence. */
export function sequenceLength({ tokens, length = 0 }: DumpSequence): number {
  return tokens?.length ?? length;
}

/** Positions of each sequence. */
export function sequenceLengths(sequences: readonly DumpSequence[]): number[] {
  return sequences.map(sequenceLength);
}

/** Token ids of all sequences, or undefined where those of one are unknown. */
export function knownTokens(sequences: readonly DumpSequence[]): (readonly number[])[] | undefined {
  const known = sequences.flatMap(({ tokens }) => (tokens === undefined ? [] : [tokens]));
  return known.length === sequences.length ? known : undefined;
}
