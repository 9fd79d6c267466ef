/** Which part of a value of a llama.cpp graph is which sequence's. */
import type { IndexedValue } from './llamacpp-index.js';
import type { GraphPart } from './llamacpp-rows.js';

/** One sequence's part of a value. */
export interface Cut {
  kind: 'whole' | 'rows' | 'slab';
  /** Slowest axis first. */
  shape: readonly number[];
  /** Rows of the part that it is of; undefined: all, or found by its shape. */
  rows?: readonly number[];
  take(bytes: Uint8Array): Uint8Array;
}

/**
 * The k-th part of a value of a graph. With several sequences a value has their tokens as rows, or an axis of
 * the sequences before all others; undefined where it has neither.
 * @param parts all parts of the graph.
 */
export function cutBySequence(
  value: IndexedValue & { bytes: number },
  parts: readonly GraphPart[],
  k: number,
): Cut | undefined {
  const shape = [...value.ne].reverse();
  if (parts.length === 1) return { kind: 'whole', shape, take: (bytes) => bytes };
  const own = shape.slice(shape.findIndex((size) => size !== 1));
  const [first = 1, ...rest] = own;
  const total = parts.reduce((sum, { rows }) => sum + rows.length, 0);
  const outputs = parts.map(({ outputs, rows }) => outputs?.length ?? rows.length);
  const computed = outputs.reduce((sum, count) => sum + count, 0);
  const width = value.bytes / first;
  const gather = (kind: Cut['kind'], rows: readonly number[]): Cut => ({
    kind,
    shape: kind === 'slab' ? rest : [rows.length, ...rest],
    take(bytes) {
      const out = new Uint8Array(rows.length * width);
      for (const [at, row] of rows.entries())
        out.set(bytes.subarray(row * width, (row + 1) * width), at * width);
      return out;
    },
  });
  const { rows } = parts[k]!;
  if (first === total) return gather('rows', rows);
  const sameLength = parts.every((part) => part.rows.length === rows.length);
  if (first === parts.length && sameLength) return gather('slab', [k]);
  if (first !== computed && computed !== 1) return undefined;
  // Rows of which logits were asked for, in the order of all rows.
  const late = parts.flatMap((part, at) =>
    (part.outputs ?? part.rows.map((_, row) => row)).map((row) => ({ at, row, graphRow: part.rows[row]! })),
  );
  late.sort((a, b) => a.graphRow - b.graphRow);
  const places = late.flatMap(({ at }, place) => (at === k ? [place] : []));
  const asked = places.map((place) => late[place]!.row);
  // One row alone has no axis of rows: what comes first is its own.
  if (first !== computed) return { kind: 'rows', shape: [1, ...own], rows: asked, take: (bytes) => bytes };
  return { ...gather('rows', places), rows: asked };
}
