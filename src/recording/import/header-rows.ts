/** Which token each row of a graph is that a program of others ran: its tokens and positions say. */
import type { RowIndex } from '../../dump/format.js';
import type { DumpSequence } from '../../dump/sequences.js';
import type { GraphRows, RowInputs } from '../record/graph-rows.js';
import { badLine, type HeaderBatch } from './header-index.js';

/** A token of a batch that no graph has had yet. */
interface Token {
  sequence: number;
  position: number;
  token: number;
}

/**
 * Follows batches graph by graph. A sequence that begins again, as a slot of a server does, is another one
 * in the dump.
 */
export class HeaderRows {
  readonly #file: string;
  /** Numbers in the dump, by sequence id; and where each has got to. */
  readonly #numbers = new Map<number, { number: number; next: number }>();
  readonly #sequences: { tokens: number[]; isWhole: boolean; length: number }[] = [];
  #left: Token[] = [];
  #batch = -1;

  constructor(file: string) {
    this.#file = file;
  }

  /** Each sequence so far; without its tokens where some were not recorded. */
  get sequences(): DumpSequence[] {
    return this.#sequences.map(({ tokens, isWhole, length }) => (isWhole ? { tokens } : { length }));
  }

  /** The rows of the next graph, an entry for each run of rows of one sequence. */
  of(
    batch: number,
    batches: readonly HeaderBatch[],
    { tokens, positions }: RowInputs,
    step: number,
  ): GraphRows {
    while (this.#batch < batch) {
      if (this.#left.length > 0)
        throw badLine(
          `graphs for all tokens of batch ${this.#batch}`,
          `${this.#left.length} tokens without`,
          this.#file,
        );
      this.#begin(batches[++this.#batch]!);
    }
    const runs: Token[][] = [];
    for (const [row, token] of tokens!.entries()) {
      const last = runs.at(-1)?.at(-1);
      const fits = (each: Token): boolean =>
        each.token === token && (positions === undefined || each.position === positions[row]);
      const follows = this.#left.findIndex(
        (each) =>
          last !== undefined &&
          each.sequence === last.sequence &&
          each.position === last.position + 1 &&
          fits(each),
      );
      const at = follows >= 0 ? follows : this.#left.findIndex(fits);
      if (at < 0)
        throw badLine(
          'rows that are tokens of the batch',
          `token ${token} at row ${row} of graph ${step}`,
          this.#file,
        );
      const [found] = this.#left.splice(at, 1);
      if (follows >= 0) runs.at(-1)!.push(found!);
      else runs.push([found!]);
    }
    for (const { sequence, position, token } of runs.flat()) {
      const own = this.#sequences[sequence]!;
      own.isWhole &&= own.tokens.length === position;
      own.tokens.push(token);
      own.length = position + 1;
    }
    return runs.map((run) => indexOf(run, step));
  }

  #addSequence(): number {
    return this.#sequences.push({ tokens: [], isWhole: true, length: 0 }) - 1;
  }

  #begin({ tokens, positions, sequences }: HeaderBatch): void {
    this.#left = tokens.map((token, k) => {
      const [id, position] = [sequences[k]!, positions[k]!];
      const known = this.#numbers.get(id);
      const isNew = known === undefined || position < known.next;
      const own = isNew ? { number: this.#addSequence(), next: 0 } : known;
      this.#numbers.set(id, own);
      own.next = position + 1;
      return { sequence: own.number, position, token };
    });
  }
}

function indexOf(run: readonly Token[], step: number): RowIndex {
  return {
    sequence: Int32Array.from(run, ({ sequence }) => sequence),
    position: Int32Array.from(run, ({ position }) => position),
    tokenId: Int32Array.from(run, ({ token }) => token),
    step: new Int32Array(run.length).fill(step),
  };
}
