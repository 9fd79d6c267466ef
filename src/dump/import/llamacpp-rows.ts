/**
 * Which token each row of a llama.cpp graph is: batches are cut into ubatches, by sequence where there are
 * several.
 */
import { importError } from './foreign.js';
import type { IndexedBatch, IndexedGraph, LlamacppIndex } from './llamacpp-index.js';

/** A token of a batch. */
interface Token {
  sequence: number;
  position: number;
  token: number;
  /** undefined: not recorded. */
  isOutput: boolean | undefined;
}

/** The rows of one graph that are one sequence's: one step of it. */
export interface GraphPart {
  graph: number;
  /** Numbers in the dump: sequences from 0 on, in the order of their ids. */
  sequence: number;
  start: number;
  tokens: readonly number[];
  /** The graph's rows, by position. */
  rows: readonly number[];
  /**
   * Entries of `rows` for which logits were asked; undefined where all were, or where that was not recorded.
   */
  outputs: readonly number[] | undefined;
}

/**
 * Parts of all graphs, in their order, sequences in order within a graph.
 * @param lengths tokens of each sequence of the only batch, one after the other, where the folder does not
 * say.
 * @throws `BAD_ARGUMENT` for rows that do not add up to the batches, saying what to set.
 */
export function graphParts(
  index: LlamacppIndex,
  lengths: readonly number[] | undefined,
  file: string,
): GraphPart[] {
  const next = new Map<number, number>();
  const batches = index.batches.map((batch, number) =>
    batchTokens(batch, number, lengths, index.batches.length, next, file),
  );
  const known = [...new Set(batches.flatMap((tokens) => tokens.map(({ sequence }) => sequence)))];
  const ids = known.sort((a, b) => a - b);
  const left = batches.map((tokens) => [...tokens]);
  const parts = index.graphs.flatMap((graph, number) =>
    partsOf(graphTokens(graph, left[graph.batch]!, file), number, ids),
  );
  for (const [number, rest] of left.entries()) {
    const isLast = number === left.length - 1 && !index.finished;
    if (rest.length > 0 && !isLast)
      throw badRows(batches[number]!.length, number, batches[number]!.length - rest.length, file);
  }
  return parts;
}

/** Tokens of a batch in its order. `next`: the position that each sequence has reached. */
function batchTokens(
  { tokens, first, positions, sequences, outputs }: IndexedBatch,
  number: number,
  lengths: readonly number[] | undefined,
  batches: number,
  next: Map<number, number>,
  file: string,
): Token[] {
  if (lengths !== undefined && sequences === undefined) {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    if (batches !== 1 || total !== tokens.length)
      throw importError(
        'BAD_ARGUMENT',
        `one batch of ${total} tokens for --sequences ${lengths}`,
        `${batches} of ${tokens.length}`,
        file,
      );
  }
  const given = lengths?.flatMap((length, sequence) => new Array<number>(length).fill(sequence));
  return tokens.map((token, k) => {
    const sequence = sequences?.[k] ?? given?.[k] ?? 0;
    const expected = next.get(sequence) ?? 0;
    const position = positions?.[k] ?? (k === 0 && first !== undefined ? first : expected);
    if (position !== expected)
      throw importError(
        'BAD_ARGUMENT',
        `a batch that goes on at position ${expected}${sequences === undefined ? '' : ` of sequence ${sequence}`}; call begin() before every llama_decode`,
        `position ${position}`,
        `batch ${number} of ${file}`,
      );
    next.set(sequence, position + 1);
    return { sequence, position, token, isOutput: outputs && outputs[k] === 1 };
  });
}

/** The tokens of a graph's rows, taken out of `left`, those of its batch that no graph has computed yet. */
function graphTokens(graph: IndexedGraph, left: Token[], file: string): Token[] {
  if (graph.rows > left.length) throw badRows(left.length, graph.batch, graph.rows, file);
  const several = left.some(({ sequence }) => sequence !== left[0]!.sequence);
  if (several && graph.positions === undefined && graph.rows < left.length)
    throw importError(
      'BAD_ARGUMENT',
      `one graph over the ${left.length} tokens of batch ${graph.batch}, or positions in its graphs (a header of this version writes them); n_ubatch its tokens if in doubt`,
      `a graph of ${graph.rows} rows of several sequences`,
      file,
    );
  const rows: Token[] = [];
  for (let row = 0; row < graph.rows; row++) {
    const [position, token] = [graph.positions?.[row], graph.tokens?.[row]];
    const fits = (other: Token, sequence?: number): boolean =>
      (position === undefined || other.position === position) &&
      (token === undefined || other.token === token) &&
      (sequence === undefined || other.sequence === sequence);
    // Rows of one sequence follow each other wherever a ubatch is cut by sequence.
    const last = rows.at(-1)?.sequence;
    let at = last === undefined ? -1 : left.findIndex((other) => fits(other, last));
    if (at < 0) at = left.findIndex((other) => fits(other));
    if (at < 0)
      throw importError(
        'BAD_ARGUMENT',
        `rows of the tokens of batch ${graph.batch}; call begin() before every llama_decode`,
        `token ${token} at position ${position} in row ${row} of a graph`,
        file,
      );
    rows.push(...left.splice(at, 1));
  }
  return rows;
}

function partsOf(tokens: readonly Token[], graph: number, ids: readonly number[]): GraphPart[] {
  return ids.flatMap((id, sequence) => {
    const rows = tokens.flatMap((token, row) => (token.sequence === id ? [row] : []));
    if (rows.length === 0) return [];
    rows.sort((a, b) => tokens[a]!.position - tokens[b]!.position);
    const own = rows.map((row) => tokens[row]!);
    const outputs = own.flatMap(({ isOutput }, k) => (isOutput === false ? [] : [k]));
    return {
      graph,
      sequence,
      start: own[0]!.position,
      tokens: own.map(({ token }) => token),
      rows,
      outputs: outputs.length === own.length ? undefined : outputs,
    };
  });
}

function badRows(expected: number, batch: number, got: number, file: string): Error {
  return importError(
    'BAD_ARGUMENT',
    `graphs over the ${expected} tokens of batch ${batch}`,
    `${got} tokens in all; call begin(batch) before every llama_decode, it records sequences too`,
    file,
  );
}
