import { describe, expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { type CompiledGraphs, compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { add, mul, scale } from '../../src/graph/ops-arithmetic.js';
import { copyInto } from '../../src/graph/ops-layout.js';
import { ResidentMemory, readResident, writeResident } from '../../src/graph/resident.js';
import type { ResidentTensor } from '../../src/graph/tensor.js';

const CLOSED = expect.objectContaining({ name: 'ZayascopeError', code: 'CLOSED' });

/** `y = x · weight + x`, with everything that it lives on. */
function setUp() {
  const backend = openBackend('cpu', { threads: 1 });
  const memory = new ResidentMemory(backend);
  const [weight] = memory.allocate([{ name: 'weight', dtype: 'F32', shape: [3] }]) as [ResidentTensor];
  writeResident(weight, Float32Array.of(1, 2, 3));
  const graph = new Graph('g');
  const x = graph.input('x', 'F32', [3]);
  graph.output('y', add(mul(x, graph.resident(weight)), x));
  const compiled = compileGraphs(backend, [graph]);
  // Where an object is closed, some calls throw at once and some reject: both count.
  const run = async (values: readonly number[], of: CompiledGraphs = compiled, index = 0) => {
    const only = of.graphs[index]!;
    only.setInput('x', Float32Array.from(values));
    await backend.native.compute([only.native]);
    return Array.from(new Float32Array(only.outputs()[0]!.bytes.slice().buffer));
  };
  return { backend, memory, weight, graph, compiled, run };
}

type Closable = 'backend' | 'memory' | 'compiled';
const ORDERS: readonly (readonly Closable[])[] = [
  ['compiled', 'memory', 'backend'],
  ['compiled', 'backend', 'memory'],
  ['memory', 'compiled', 'backend'],
  ['memory', 'backend', 'compiled'],
  ['backend', 'compiled', 'memory'],
  ['backend', 'memory', 'compiled'],
];

describe('closing', () => {
  it.each(ORDERS)('%s, then %s, then %s is safe, twice too', async (...order) => {
    const parts = setUp();
    expect(await parts.run([1, 1, 2])).toEqual([2, 3, 8]);
    for (const name of [...order, ...order]) parts[name].close();
    await expect(parts.run([1, 1, 2])).rejects.toThrow(CLOSED);
  });

  it.each<Closable>(['backend', 'memory', 'compiled'])(
    'only the %s stops the graph with CLOSED',
    async (name) => {
      const parts = setUp();
      parts[name].close();
      await expect(parts.run([1, 1, 2])).rejects.toThrow(CLOSED);
      for (const other of ['compiled', 'memory', 'backend'] as const) parts[other].close();
    },
  );

  it('memory makes its tensors, new graphs on them and new tensors throw CLOSED', () => {
    const { backend, memory, weight, graph, compiled } = setUp();
    memory.close();
    expect(() => readResident(weight)).toThrow(CLOSED);
    expect(() => writeResident(weight, new Float32Array(3))).toThrow(CLOSED);
    expect(() => compileGraphs(backend, [graph])).toThrow(CLOSED);
    expect(() => memory.allocate([{ name: 'late', dtype: 'F32', shape: [1] }])).toThrow(CLOSED);
    compiled.close();
    backend.close();
  });

  it('a backend makes new graphs and new memory throw CLOSED', () => {
    const { backend, memory, graph, compiled } = setUp();
    backend.close();
    expect(() => compileGraphs(backend, [graph])).toThrow(CLOSED);
    expect(() => memory.allocate([{ name: 'late', dtype: 'F32', shape: [1] }])).toThrow(CLOSED);
    compiled.close();
    memory.close();
  });

  it('compiled graphs invalidates the views of their outputs', async () => {
    const { backend, memory, compiled, run } = setUp();
    await run([1, 1, 1]);
    const { bytes } = compiled.graphs[0]!.outputs()[0]!;
    expect(bytes.byteLength).toBe(12);
    compiled.close();
    expect(bytes.byteLength).toBe(0);
    memory.close();
    backend.close();
  });

  it('during a run lets the run end', async () => {
    const { backend, memory, compiled } = setUp();
    compiled.graphs[0]!.setInput('x', new Float32Array(3));
    const running = backend.native.compute([compiled.graphs[0]!.native]);
    for (const part of [compiled, memory, backend]) part.close();
    expect((await running).nodes).toBe(2);
  });

  it('happens at the end of a using block', () => {
    const { backend, memory, compiled } = setUp();
    {
      using closing = compiled;
      closing.graphs[0]!.setInput('x', new Float32Array(3));
    }
    expect(() => compiled.graphs[0]!.setInput('x', new Float32Array(3))).toThrow(CLOSED);
    memory.close();
    backend.close();
  });
});

describe('running', () => {
  it('twice with other inputs gives other results', async () => {
    const { backend, memory, compiled, run } = setUp();
    expect(await run([1, 1, 1])).toEqual([2, 3, 4]);
    expect(await run([2, 0, -1])).toEqual([4, 0, -4]);
    expect(await run([1, 1, 1])).toEqual([2, 3, 4]);
    for (const part of [compiled, memory, backend]) part.close();
  });

  it('sees what was written to resident memory in between', async () => {
    const { backend, memory, weight, compiled, run } = setUp();
    await run([1, 1, 1]);
    writeResident(weight, Float32Array.of(10, 20, 30));
    expect(await run([1, 1, 1])).toEqual([11, 21, 31]);
    for (const part of [compiled, memory, backend]) part.close();
  });

  it('two graphs in one arena gives each its own result, in any order and in one call', async () => {
    const { backend, memory, run } = setUp();
    const graphs = [2, 3].map((factor) => {
      const graph = new Graph(`times ${factor}`);
      graph.output('y', scale(scale(graph.input('x', 'F32', [3 * factor]), factor), 1));
      return graph;
    });
    const both = compileGraphs(backend, graphs);
    const alone = compileGraphs(backend, [graphs[1]!]);
    expect(both.sizeBytes).toBe(alone.sizeBytes); // as large as the largest
    expect(await run([1, 2, 3, 4, 5, 6], both, 0)).toEqual([2, 4, 6, 8, 10, 12]);
    expect(await run([1, 1, 1, 1, 1, 1, 1, 1, 1], both, 1)).toEqual(new Array(9).fill(3));
    expect(await run([0, 0, 0, 0, 0, 1], both, 0)).toEqual([0, 0, 0, 0, 0, 2]);
    for (const part of [both, alone, memory, backend]) part.close();
  });

  it('carries a state from run to run, read before it is replaced', async () => {
    const { backend, memory } = setUp();
    const [state] = memory.allocate([{ name: 'state', dtype: 'F32', shape: [3] }]) as [ResidentTensor];
    writeResident(state, new Float32Array(3));
    const graph = new Graph('counter');
    const x = graph.input('x', 'F32', [3]);
    const before = graph.resident(state);
    const sum = add(before, x);
    copyInto(sum, before);
    graph.output('y', scale(sum, 1));
    const compiled = compileGraphs(backend, [graph]);
    for (let step = 1; step <= 3; step++) {
      compiled.graphs[0]!.setInput('x', Float32Array.of(1, 10, 100));
      await backend.native.compute([compiled.graphs[0]!.native]);
      expect(new Float32Array(compiled.graphs[0]!.outputs()[0]!.bytes.slice().buffer)).toEqual(
        Float32Array.of(step, 10 * step, 100 * step),
      );
      expect(new Float32Array(readResident(state).buffer)).toEqual(
        Float32Array.of(step, 10 * step, 100 * step),
      );
    }
    for (const part of [compiled, memory, backend]) part.close();
  });
});
