import { afterAll, describe, expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { add, scale } from '../../src/graph/ops-arithmetic.js';
import { cont, copyInto, permute } from '../../src/graph/ops-layout.js';
import { ResidentMemory, readResident, writeResident } from '../../src/graph/resident.js';
import type { Tensor } from '../../src/graph/tensor.js';
import { NO_TAPS, type Taps, tap, tapAs, tapParts } from '../../src/models/runtime/tap.js';

const backend = openBackend('cpu', { threads: 1 });
afterAll(() => backend.close());

type Seam = (graph: Graph, taps: Taps, x: Tensor) => Tensor;

const VALUES = Array.from({ length: 12 }, (_, i) => i + 1); // [4, 3]
const TURNED = [1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]; //     [3, 4]
const tens = (values: readonly number[]) => values.map((value) => value * 10);

const OBSERVE: Taps = { wants: () => true };
const replace = (...names: string[]): Taps => ({
  wants: () => true,
  apply: (name, value) => (names.includes(name) ? scale(cont(value), 10) : value),
});

const plain: Seam = (graph, taps, x) => tap(graph, taps, 'value', x, 'r,c');
const turn = (x: Tensor) => permute(x, [1, 0]);
const turned: Seam = (graph, taps, x) => tapAs(graph, taps, 'turned', x, 'c,r', turn, turn);
const inRows: Seam = (graph, taps, x) =>
  tapParts(graph, taps, x, 0, [
    ['first', 1, [3], 'c'],
    ['nothing', 0, [3], 'c'],
    ['rest', 3, [1, 3, 3], '1,r,c'],
  ]);
const inColumns: Seam = (graph, taps, x) =>
  tapParts(graph, taps, x, 1, [
    ['left', 2, [4, 2], 'r,c'],
    ['right', 1, [4], 'r'],
  ]);

/** Runs [4, 3] through a model that is one seam; gives every tap and the model's result. */
async function run(taps: Taps, seam: Seam): Promise<Record<string, number[]>> {
  const graph = new Graph('taps');
  graph.output('result', cont(seam(graph, taps, graph.input('x', 'F32', [4, 3]))));
  using compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  only.setInput('x', Float32Array.from(VALUES));
  await backend.native.compute([only.native]);
  const outputs = only.outputs();
  return Object.fromEntries(
    outputs.map(({ name, bytes }) => [name, Array.from(new Float32Array(bytes.slice().buffer))]),
  );
}

describe('a seam that nobody watches', () => {
  it.each([plain, turned, inRows, inColumns])('adds no node and no output', (seam) => {
    const graph = new Graph('taps');
    const x = graph.input('x', 'F32', [4, 3]);
    expect(seam(graph, NO_TAPS, x)).toBe(x);
    expect(graph.tensors).toEqual([x]);
    expect(graph.outputs.size).toBe(0);
  });
});

describe('an observed seam shows the value and leaves it alone', () => {
  it.each<[string, Seam, Record<string, number[]>]>([
    ['tap', plain, { value: VALUES }],
    ['tapAs, in the promised layout', turned, { turned: TURNED }],
    ['tapParts along rows', inRows, { first: [1, 2, 3], rest: VALUES.slice(3) }],
    ['tapParts along columns', inColumns, { left: [1, 2, 4, 5, 7, 8, 10, 11], right: [3, 6, 9, 12] }],
  ])('%s', async (_, seam, shown) => {
    expect(await run(OBSERVE, seam)).toEqual({ ...shown, result: VALUES });
  });
});

describe('a replaced value: the one computed here is shown, the model goes on with the other', () => {
  it.each<[string, Seam, string[], Record<string, number[]>]>([
    ['tap', plain, ['value'], { value: VALUES, result: tens(VALUES) }],
    ['tapAs', turned, ['turned'], { turned: TURNED, result: tens(VALUES) }],
    [
      'one part of tapParts along rows',
      inRows,
      ['rest'],
      { first: [1, 2, 3], rest: VALUES.slice(3), result: [1, 2, 3, ...tens(VALUES.slice(3))] },
    ],
    [
      'one part of tapParts along columns',
      inColumns,
      ['right'],
      {
        left: [1, 2, 4, 5, 7, 8, 10, 11],
        right: [3, 6, 9, 12],
        result: VALUES.map((value) => (value % 3 === 0 ? value * 10 : value)),
      },
    ],
    [
      'all parts of tapParts',
      inRows,
      ['first', 'rest'],
      { first: [1, 2, 3], rest: VALUES.slice(3), result: tens(VALUES) },
    ],
  ])('%s', async (_, seam, names, expected) => {
    expect(await run(replace(...names), seam)).toEqual(expected);
  });

  it('a state is shown as it was, whatever is written to it later', async () => {
    using memory = new ResidentMemory(backend);
    const [state] = memory.allocate([{ name: 'state', dtype: 'F32', shape: [4, 3] }]);
    writeResident(state!, new Float32Array(12).fill(5));
    const before = new Array<number>(12).fill(5);
    const overwritten: Seam = (graph, taps, x) => {
      const used = tap(graph, taps, 'state', graph.resident(state!), 'r,c');
      const sum = add(x, used);
      copyInto(x, graph.resident(state!));
      return sum;
    };
    const shown = await run(OBSERVE, overwritten);
    expect(shown).toEqual({ state: before, result: VALUES.map((value) => value + 5) });
    expect(Array.from(new Float32Array(readResident(state!).buffer))).toEqual(VALUES);
  });

  it('a seam that apply leaves alone gives the same tensor', () => {
    const graph = new Graph('taps');
    const x = graph.input('x', 'F32', [4, 3]);
    for (const seam of [turned, inRows, inColumns])
      expect(seam(graph, { wants: () => false, apply: (_, value) => value }, x)).toBe(x);
  });
});
