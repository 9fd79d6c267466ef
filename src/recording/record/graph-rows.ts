/** Which rows of which sequence each graph of a run has. */
import type { RowIndex } from '../../dump/format.js';
import { unexpected } from './recorded-graph.js';

/** Tokens of one sequence in a call. */
export interface CallPart {
  sequence: number;
  /** Position of its first token. */
  first: number;
  tokens: readonly number[];
}

/** One call of the model. */
export interface Call {
  /** One part a sequence, in the order of sequences. */
  parts: readonly CallPart[];
  /** The first of its graphs, each of which is a step. */
  step: number;
  kind: 'prefill' | 'chunk' | 'decode';
}

/** Rows of one graph: an index for each sequence that it has, in the order of its rows. */
export type GraphRows = readonly RowIndex[];

/** What a graph was given. */
export interface RowInputs {
  tokens?: Int32Array;
  positions?: Int32Array;
}

/** Tokens of all parts of a call. */
export function tokenCount({ parts }: Pick<Call, 'parts'>): number {
  return parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

/**
 * The rows of every graph. A call of one sequence is cut every `ubatch` tokens; how one of several is cut,
 * libllama decides, and tokens and positions of its graphs tell.
 * @param inputs of every graph.
 */
export function rowsOfGraphs(
  calls: readonly Call[],
  inputs: readonly RowInputs[],
  ubatch: number,
): GraphRows[] {
  const rows: GraphRows[] = [];
  for (const [k, call] of calls.entries()) {
    const end = calls[k + 1]?.step ?? inputs.length;
    const [only, ...more] = call.parts;
    if (more.length > 0) rows.push(...new SharedCall(call.parts).rows(inputs, call.step, end));
    else
      for (let start = 0, step = call.step; step < end; start += ubatch, step++)
        rows.push([indexOf(only!, start, Math.min(start + ubatch, only!.tokens.length), step)]);
  }
  if (rows.length !== inputs.length) throw unexpected(`${rows.length} graphs`, `${inputs.length}`);
  for (const [step, graph] of rows.entries())
    if (rowCount(graph) === 0) throw unexpected('a graph with tokens', `graph ${step} without`);
  return rows;
}

/** Rows of all sequences. */
export function rowCount(rows: GraphRows): number {
  return rows.reduce((sum, { position }) => sum + position.length, 0);
}

function indexOf({ sequence, first, tokens }: CallPart, start: number, end: number, step: number): RowIndex {
  const count = Math.max(0, end - start);
  return {
    sequence: new Int32Array(count).fill(sequence),
    position: Int32Array.from({ length: count }, (_, k) => first + start + k),
    tokenId: Int32Array.from(tokens.slice(start, end)),
    step: new Int32Array(count).fill(step),
  };
}

/** A call of several sequences, followed graph by graph. */
class SharedCall {
  readonly #parts: readonly CallPart[];
  /** Tokens of each part that earlier graphs have had. */
  readonly #done: number[];

  constructor(parts: readonly CallPart[]) {
    this.#parts = parts;
    this.#done = parts.map(() => 0);
  }

  rows(inputs: readonly RowInputs[], step: number, end: number): GraphRows[] {
    const rows: GraphRows[] = [];
    for (let graph = step; graph < end; graph++) {
      const { tokens, positions } = inputs[graph]!;
      if (tokens === undefined)
        throw unexpected('token ids among the inputs of a run of several sequences', 'none');
      const counts = positions ? this.#byPosition(tokens, positions) : this.#byCut(tokens);
      rows.push(
        counts.map(([part, count]) => {
          const start = this.#done[part]!;
          this.#done[part] = start + count;
          return indexOf(this.#parts[part]!, start, start + count, graph);
        }),
      );
    }
    if (this.#parts.some(({ tokens }, part) => this.#done[part] !== tokens.length))
      throw unexpected('graphs for all tokens of the call', 'fewer');
    return rows;
  }

  /**
   * Each row is the next token of a sequence: of the row before where it fits, else of the first that fits.
   */
  #byPosition(tokens: Int32Array, positions: Int32Array): [part: number, count: number][] {
    const runs: [part: number, count: number][] = [];
    const fits = (part: number, row: number, ahead: number): boolean => {
      const { first, tokens: own } = this.#parts[part]!;
      const at = this.#done[part]! + ahead;
      return own[at] === tokens[row] && first + at === positions[row];
    };
    for (const row of tokens.keys()) {
      const last = runs.at(-1);
      if (last !== undefined && fits(last[0], row, last[1])) {
        last[1]++;
        continue;
      }
      const part = this.#parts.findIndex((_, k) => !runs.some(([used]) => used === k) && fits(k, row, 0));
      if (part < 0)
        throw unexpected('rows of a sequence that lie together', `token ${tokens[row]} elsewhere`);
      runs.push([part, 1]);
    }
    return runs;
  }

  /** Models without positions take the same number of tokens of as many sequences as there are. */
  #byCut(tokens: Int32Array): [part: number, count: number][] {
    const left = this.#parts.flatMap(({ tokens: own }, part) =>
      this.#done[part]! < own.length ? [part] : [],
    );
    for (let sequences = left.length; sequences > 0; sequences--) {
      const count = tokens.length / sequences;
      const fits = left
        .slice(0, sequences)
        .every((part, s) =>
          Array.from({ length: count }, (_, k) => k).every(
            (k) => this.#parts[part]!.tokens[this.#done[part]! + k] === tokens[s * count + k],
          ),
        );
      if (Number.isInteger(count) && fits)
        return left.slice(0, sequences).map((part): [number, number] => [part, count]);
    }
    throw unexpected('rows that are the next tokens of sequences', `${tokens.length} others`);
  }
}
