import { describe, expect, it } from 'vitest';
import type { DumpGraph, GraphTensor } from '../../src/dump/graph-file.js';
import { errorShares } from '../../src/error-shares.js';
import { nodeReaders, nodeSources } from '../../src/recording/edges.js';
import { chosenColumns, otherChoices } from '../../src/recording/locate/choices.js';

/** Tensors of F32 rows of 4 without gaps; the first without an op are leaves. */
function graphOf(
  tensors: readonly (Partial<GraphTensor> & { name: string })[],
  steps: number[][],
): DumpGraph {
  return {
    version: 1,
    tensors: tensors.map((tensor, id) => {
      const ne = tensor.ne ?? ([4, 1, 1, 1] as const);
      const nb = [4, 4 * ne[0], 4 * ne[0] * ne[1], 4 * ne[0] * ne[1] * ne[2]] as const;
      return { id, op: 'NONE', type: 'F32', params: '', flags: 0, src: [], ...tensor, ne, nb };
    }),
    graphs: steps.map((nodes, step) => ({ step, nodes })),
  };
}

const read = (graph: DumpGraph) =>
  Object.fromEntries(
    [...nodeSources(graph)].map(([id, sources]) => [
      graph.tensors[id]!.name,
      sources.map(({ tensor, writers, leaf }) =>
        [tensor.name, ...writers.map((each) => graph.tensors[each]!.name), leaf ? `leaf ${leaf.name}` : '']
          .filter((word) => word !== '')
          .join(' < '),
      ),
    ]),
  );

const readBy = (graph: DumpGraph) => {
  const sources = nodeSources(graph);
  const readers = nodeReaders(sources);
  const names = (ids: Iterable<number>) => [...ids].map((id) => graph.tensors[id]!.name);
  return Object.fromEntries([...sources.keys()].map((id) => [names([id])[0], names(readers.of(id))]));
};

describe('nodeSources', () => {
  it('follows views, rows written into a cache, and a cache from step to step', () => {
    const graph = graphOf(
      [
        { name: 'cache', ne: [4, 8, 1, 1], state: 'zero' },
        { name: 'input' },
        { name: 'rows' },
        { name: 'scaled', op: 'SCALE', src: [1] },
        { name: 'scaled (view)', op: 'VIEW', src: [3], viewSrc: 3, viewOffs: 0 },
        { name: 'set', op: 'SET_ROWS', ne: [4, 8, 1, 1], src: [4, 2, 0], viewSrc: 0, viewOffs: 0 },
        { name: 'keys', op: 'VIEW', ne: [4, 8, 1, 1], src: [0], viewSrc: 0, viewOffs: 0 },
        { name: 'product', op: 'MUL_MAT', ne: [8, 1, 1, 1], src: [6, 4] },
        { name: 'set later', op: 'SET_ROWS', ne: [4, 8, 1, 1], src: [1, 2, 0], viewSrc: 0, viewOffs: 0 },
        { name: 'product later', op: 'MUL_MAT', ne: [8, 1, 1, 1], src: [6, 1] },
      ],
      [
        [3, 4, 5, 6, 7],
        [8, 9],
      ],
    );
    expect(read(graph)).toEqual({
      scaled: ['input < leaf input'],
      set: ['scaled (view) < scaled', 'rows < leaf rows', 'cache < leaf cache'],
      product: ['keys < set < leaf cache', 'scaled (view) < scaled'],
      'set later': ['input < leaf input', 'rows < leaf rows', 'cache < set < leaf cache'],
      'product later': ['keys < set < set later < leaf cache', 'input < leaf input'],
    });
    expect(readBy(graph)).toEqual({
      scaled: ['set', 'product'],
      set: ['product', 'set later', 'product later'],
      product: [],
      'set later': ['product later'],
      'product later': [],
    });
  });

  it('tells parts of one memory apart, and what was written over', () => {
    const graph = graphOf(
      [
        { name: 'input' },
        { name: 'whole', op: 'CONT', ne: [4, 2, 1, 1], src: [0] },
        { name: 'lower', op: 'SCALE', src: [1], viewSrc: 1, viewOffs: 0 },
        { name: 'lower view', op: 'VIEW', src: [1], viewSrc: 1, viewOffs: 0 },
        { name: 'upper view', op: 'VIEW', src: [1], viewSrc: 1, viewOffs: 16 },
        { name: 'sum', op: 'ADD', src: [3, 4] },
        { name: 'over', op: 'CPY', ne: [4, 2, 1, 1], src: [0, 1], viewSrc: 1, viewOffs: 0 },
        { name: 'after', op: 'ADD', src: [3, 4] },
      ],
      [[1, 2, 3, 4, 5, 6, 7]],
    );
    expect(read(graph)).toMatchObject({
      sum: ['lower view < whole < lower', 'upper view < whole'],
      after: ['lower view < over', 'upper view < over'],
    });
    // Written over, nobody reads it any more.
    expect(readBy(graph)).toMatchObject({
      whole: ['lower', 'sum', 'over'],
      lower: ['sum', 'over'],
      over: ['after'],
    });
  });
});

describe('choices', () => {
  it('are as many as the widest view reads, in any order', () => {
    const graph = graphOf(
      [
        { name: 'scores', ne: [4, 3, 1, 1] },
        { name: 'sorted', op: 'ARGSORT', type: 'I32', ne: [4, 3, 1, 1], src: [0] },
        { name: 'first two', op: 'VIEW', type: 'I32', ne: [2, 3, 1, 1], src: [1], viewSrc: 1 },
      ],
      [[1, 2]],
    );
    expect(chosenColumns(graph)).toEqual(new Map([[1, 2]]));
    const reference = [0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 1, 0];
    const tested = [1, 0, 3, 2, 0, 2, 1, 3, 3, 2, 1, 0];
    expect(otherChoices(reference, tested, 4, 2)).toEqual({ changed: 1, rows: 3, first: 1 });
  });
});

describe('errorShares', () => {
  const node = (key: string, cumulative: number, local: number, inputs: string[], energy = cumulative) => ({
    key,
    cumulative,
    energy,
    local,
    inputs,
    joining: 'sum' as const,
  });

  it('splits an error between a node and what it reads', () => {
    const shares = errorShares(
      [node('a', 1, 1, []), node('b', 3, 3, []), node('c', 4, 1, ['a', 'b']), node('d', 9, 9, [])],
      'c',
    );
    expect(shares.get('c')).toBeCloseTo(0.25, 12);
    expect(shares.get('a')).toBeCloseTo(0.75 / 4, 12);
    expect(shares.get('b')).toBeCloseTo((0.75 * 3) / 4, 12);
    expect(shares.has('d')).toBe(false);
  });

  it('is empty without an error, and finite with infinite ones', () => {
    expect(errorShares([node('a', 0, 0, [])], 'a').size).toBe(0);
    const infinite = errorShares(
      [node('a', Number.POSITIVE_INFINITY, 1, []), node('b', Number.POSITIVE_INFINITY, 1, ['a'])],
      'b',
    );
    expect([...infinite.values()].reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
  });
});
