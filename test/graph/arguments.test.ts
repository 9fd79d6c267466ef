import { afterAll, describe, expect, it } from 'vitest';
import type { Dtype } from '../../src/dtype.js';
import { listDevices, openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { scale } from '../../src/graph/ops-arithmetic.js';
import { cont, transpose } from '../../src/graph/ops-layout.js';
import { ResidentMemory, readResident, writeResident } from '../../src/graph/resident.js';
import { native } from '../../src/native.js';

const backend = openBackend('cpu', { threads: 1 });
afterAll(() => backend.close());

/** Matches an error of this code whose message holds all of the texts. */
function rejection(code: string, ...texts: string[]) {
  return expect.objectContaining({
    name: 'ZayascopeError',
    code,
    message: expect.stringMatching(texts.map((text) => `(?=[^]*${escaped(text)})`).join('')),
  });
}

function escaped(text: string): string {
  return text.replace(/[[\](){}.*+?^$|\\]/g, '\\$&');
}

const BAD_SHAPES: readonly (readonly number[])[] = [
  [],
  [0],
  [-1, 2],
  [2.5],
  [1, 1, 1, 1, 2],
  [Number.NaN],
  [2 ** 30, 2 ** 30],
];

describe('Graph', () => {
  it.each(BAD_SHAPES)('rejects an input of shape [%s]', (...shape) => {
    expect(() => new Graph('g').input('x', 'F32', shape)).toThrow(
      rejection('SHAPE_MISMATCH', 'input: ', 'x'),
    );
  });

  it('rejects an input whose rows are no whole blocks', () => {
    expect(() => new Graph('g').input('x', 'Q4_K', [2, 100])).toThrow(
      rejection('SHAPE_MISMATCH', 'Q4_K', '256', '100'),
    );
  });

  it('rejects a name that an input has already', () => {
    const graph = new Graph('layers.3');
    graph.input('x', 'F32', [2]);
    expect(() => graph.input('x', 'F32', [3])).toThrow(rejection('BAD_ARGUMENT', 'input: ', 'x', 'layers.3'));
  });

  it('rejects a name that an output has already', () => {
    const graph = new Graph('layers.3');
    const x = graph.input('x', 'F32', [2]);
    graph.output('y', x);
    expect(() => graph.output('y', scale(x, 2))).toThrow(
      rejection('BAD_ARGUMENT', 'output: ', 'y', 'layers.3'),
    );
  });

  it('rejects an output that is a tensor of another graph', () => {
    const x = new Graph('layers.4').input('x', 'F32', [2]);
    expect(() => new Graph('layers.3').output('y', x)).toThrow(
      rejection('BAD_ARGUMENT', 'layers.3', 'layers.4'),
    );
  });

  it('rejects a strided output, and takes it made contiguous', () => {
    const graph = new Graph('g');
    const turned = transpose(graph.input('x', 'F32', [2, 3]));
    expect(() => graph.output('y', turned)).toThrow(rejection('SHAPE_MISMATCH', 'cont', '[3, 2] F32'));
    graph.output('y', cont(turned));
    expect([...graph.outputs.keys()]).toEqual(['y']);
  });

  it('gives the same leaf each time it is asked for a resident tensor', () => {
    using memory = new ResidentMemory(backend);
    const [weight] = memory.allocate([{ name: 'w', dtype: 'F32', shape: [2] }]);
    const graph = new Graph('g');
    expect(graph.resident(weight!)).toBe(graph.resident(weight!));
    expect(graph.computeNodes).toBe(0);
  });
});

describe('a compiled graph', () => {
  function compiled() {
    const graph = new Graph('g');
    graph.output('y', scale(graph.input('x', 'F32', [2, 3]), 2));
    graph.input('unused', 'F32', [4]);
    return compileGraphs(backend, [graph]);
  }

  it.each<[string, string, number, string]>([
    ['an unknown name', 'z', 6, 'BAD_ARGUMENT'],
    ['an input that no output needs', 'unused', 4, 'BAD_ARGUMENT'],
    ['too few values', 'x', 5, 'SHAPE_MISMATCH'],
    ['too many values', 'x', 7, 'SHAPE_MISMATCH'],
  ])('rejects %s', (_, name, count, code) => {
    using graphs = compiled();
    expect(() => graphs.graphs[0]!.setInput(name, new Float32Array(count))).toThrow(
      rejection(code, 'setInput: ', name),
    );
  });

  it('takes a part of a larger array', async () => {
    using graphs = compiled();
    graphs.graphs[0]!.setInput('x', Float32Array.of(9, 1, 2, 3, 4, 5, 6, 9).subarray(1, 7));
    await backend.native.compute([graphs.graphs[0]!.native]);
    expect(Array.from(new Float32Array(graphs.graphs[0]!.outputs()[0]!.bytes.slice().buffer))).toEqual([
      2, 4, 6, 8, 10, 12,
    ]);
  });

  it('rejects a graph without outputs', () => {
    const graph = new Graph('empty');
    graph.input('x', 'F32', [2]);
    expect(() => compileGraphs(backend, [graph])).toThrow(rejection('BAD_ARGUMENT', 'at least one output'));
  });

  it('rejects a graph that needs more memory than there is', () => {
    const graph = new Graph('huge');
    graph.output('y', scale(graph.input('x', 'F32', [2 ** 20, 2 ** 24]), 2));
    expect(() => compileGraphs(backend, [graph])).toThrow(rejection('BACKEND'));
  });
});

describe('ResidentMemory', () => {
  it.each(BAD_SHAPES)('rejects a tensor of shape [%s]', (...shape) => {
    using memory = new ResidentMemory(backend);
    expect(() => memory.allocate([{ name: 'w', dtype: 'F32', shape }])).toThrow(
      rejection('SHAPE_MISMATCH', 'allocate: ', 'w'),
    );
  });

  it.each<[Dtype, number]>([
    ['Q8_0', 33],
    ['Q6_K', 128],
  ])('rejects %s rows of %d elements', (dtype, columns) => {
    using memory = new ResidentMemory(backend);
    expect(() => memory.allocate([{ name: 'w', dtype, shape: [2, columns] }])).toThrow(
      rejection('SHAPE_MISMATCH', dtype),
    );
  });

  it('rejects more than the device has', () => {
    using memory = new ResidentMemory(backend);
    expect(() => memory.allocate([{ name: 'w', dtype: 'F32', shape: [2 ** 45] }])).toThrow(
      rejection('BACKEND', 'bytes'),
    );
    expect(memory.sizeBytes).toBe(0);
  });

  it('writes and reads exactly its bytes', () => {
    using memory = new ResidentMemory(backend);
    const [first, second] = memory.allocate([
      { name: 'first', dtype: 'F32', shape: [3] },
      { name: 'second', dtype: 'BF16', shape: [2, 2] },
    ]);
    writeResident(first!, Float32Array.of(1, 2, 3));
    writeResident(second!, Uint16Array.of(1, 2, 3, 4));
    expect(new Float32Array(readResident(first!).buffer)).toEqual(Float32Array.of(1, 2, 3));
    expect(new Uint16Array(readResident(second!).buffer)).toEqual(Uint16Array.of(1, 2, 3, 4));
    expect(memory.sizeBytes).toBeGreaterThanOrEqual(20);
    for (const count of [2, 4])
      expect(() => writeResident(first!, new Float32Array(count))).toThrow(
        rejection('SHAPE_MISMATCH', '12 bytes', 'first'),
      );
  });

  it('allocates nothing for no tensors', () => {
    using memory = new ResidentMemory(backend);
    expect(memory.allocate([])).toEqual([]);
    expect(memory.sizeBytes).toBe(0);
  });
});

describe('openBackend', () => {
  it('opens the CPU by any spelling of its name', () => {
    using open = openBackend('CPU', { threads: 2 });
    expect([open.device.type, open.threads, open.name]).toEqual(['cpu', 2, 'CPU']);
  });

  it('names the devices at hand when there is none of that name', () => {
    expect(() => openBackend('abacus')).toThrow(rejection('BACKEND', 'abacus', listDevices()[0]!.name));
  });

  it.each([0, -1, 1.5, 513, Number.NaN, Number.POSITIVE_INFINITY])('rejects %d threads', (threads) => {
    expect(() => openBackend('cpu', { threads })).toThrow(
      rejection('BAD_ARGUMENT', '1 to 512', String(threads)),
    );
    expect(() => backend.setThreads(threads)).toThrow(rejection('BAD_ARGUMENT', '1 to 512'));
    expect(backend.threads).toBe(1);
  });

  it('computes the same with any number of threads', async () => {
    const graph = new Graph('g');
    graph.output('y', scale(graph.input('x', 'F32', [64]), 3));
    for (const threads of [1, 3, 512]) {
      using open = openBackend('cpu', { threads });
      using graphs = compileGraphs(open, [graph]);
      graphs.graphs[0]!.setInput('x', new Float32Array(64).fill(2));
      await open.native.compute([graphs.graphs[0]!.native]);
      expect(new Set(new Float32Array(graphs.graphs[0]!.outputs()[0]!.bytes.slice().buffer))).toEqual(
        new Set([6]),
      );
    }
  });

  it('agrees with ggml on the versions', () => {
    const { ggml, headers } = native().version();
    expect(ggml).toBe(headers);
  });
});
