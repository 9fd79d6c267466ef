import { beforeEach, describe, expect, it } from 'vitest';
import { type NativeBackend, type NativeContext, type NativeGraph, native } from '../../src/native.js';
import { bytesOf, leaf } from './run-op.js';

const F32 = 0;

let backend: NativeBackend;
let context: NativeContext;
beforeEach(() => {
  backend = new (native().Backend)('CPU');
  backend.setThreads(2);
  context = new (native().Context)(4096);
});

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'no error';
}

function read(tensor: number): number[] {
  const bytes = context.view(tensor);
  return [...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)];
}

/** A graph of square matrix products, some ms each: 60 leave time to cancel. */
function slowGraph(nodes: number): NativeGraph {
  const SIZE = 512;
  const x = leaf(context, [SIZE, SIZE], 'x');
  let y = x;
  for (let i = 0; i < nodes; i++) y = context.op('mul_mat', [x, y], [], F32, [SIZE, SIZE, 1, 1], `y${i}`);
  native().Buffer.allocate(backend, context);
  context.fill(x, 0);
  const graph = new (native().Graph)(context, [y]);
  new (native().Arena)(backend).plan([graph]);
  return graph;
}

describe('a graph', () => {
  it('counts all nodes, and apart those that compute', () => {
    const x = leaf(context, [2, 3], 'x');
    const turned = context.op('transpose', [x], [], F32, [3, 2, 1, 1], 'turned');
    const copied = context.op('cont', [turned], [], F32, [3, 2, 1, 1], 'copied');
    const flat = context.op('reshape', [copied], [6, 1, 1, 1], F32, [6, 1, 1, 1], 'flat');
    const graph = new (native().Graph)(context, [flat]);
    expect({ nodes: graph.nodes, computeNodes: graph.computeNodes }).toEqual({ nodes: 3, computeNodes: 1 });
  });

  it('may be deeper than the stack', () => {
    const NODES = 300_000;
    const deep = new (native().Context)(NODES + 1);
    let y = leaf(deep, [1], 'x');
    for (let i = 0; i < NODES; i++) y = deep.op('sqrt', [y], [], F32, [1, 1, 1, 1], 'y');
    expect(new (native().Graph)(deep, [y]).nodes).toBe(NODES);
  });

  it('computes its nodes and counts them', async () => {
    const x = leaf(context, [4], 'x');
    const y = context.op('mul', [x, x], [], F32, [4, 1, 1, 1], 'y');
    const z = context.op('add', [y, x], [], F32, [4, 1, 1, 1], 'z');
    context.setOutput(z);
    native().Buffer.allocate(backend, context);
    const graph = new (native().Graph)(context, [z]);
    new (native().Arena)(backend).plan([graph]);
    context.write(x, bytesOf([1, 2, 3, 4]), 0);
    expect(await backend.compute([graph])).toMatchObject({ nodes: 2 });
    expect(read(z)).toEqual([2, 6, 12, 20]);
  });

  it('needs a plan before it computes: BACKEND', () => {
    const x = leaf(context, [4], 'x');
    const y = context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'y');
    native().Buffer.allocate(backend, context);
    const graph = new (native().Graph)(context, [y]);
    expect(code(() => backend.compute([graph]))).toBe('BACKEND');
  });

  it('with an op that the device does not have for these types is refused before it runs: BACKEND', () => {
    const w = leaf(context, [4, 2], 'w');
    const x = leaf(context, [4, 3], 'x', 'F16');
    const y = context.op('mul_mat', [w, x], [], F32, [2, 3, 1, 1], 'y');
    native().Buffer.allocate(backend, context);
    const graph = new (native().Graph)(context, [y]);
    new (native().Arena)(backend).plan([graph]);
    expect(backend.supportsOp(context, y)).toBe(false);
    expect(backend.supportsOp(context, context.op('sqrt', [w], [], F32, [4, 2, 1, 1], 'z'))).toBe(true);
    expect(() => backend.compute([graph])).toThrow(
      expect.objectContaining({ code: 'BACKEND', message: expect.stringContaining('MUL_MAT (y)') }),
    );
  });
});

describe('an arena', () => {
  it('gives graphs that run one after the other one memory, each with its own layout', async () => {
    // As many nodes of the same sizes but another order of use: a layout must not be taken over from one
    // graph to the next.
    const x = leaf(context, [64], 'x');
    const state = leaf(context, [64], 'state');
    const size = [64, 1, 1, 1];
    const chain = (name: string): number => {
      const a = context.op('scale', [x], [2], F32, size, `${name}.a`);
      const b = context.op('scale', [a], [3], F32, size, `${name}.b`);
      const c = context.op('scale', [b], [5], F32, size, `${name}.c`);
      const d = context.op('add', [name === 'late' ? a : c, c], [], F32, size, `${name}.d`);
      return context.op('cpy', [d, state], [], F32, size, `${name}.e`);
    };
    const late = chain('late');
    const early = chain('early');
    native().Buffer.allocate(backend, context);
    const graphs = [late, early].map((node) => new (native().Graph)(context, [node]));
    const arena = new (native().Arena)(backend);
    arena.plan(graphs);
    context.write(x, bytesOf(new Array<number>(64).fill(1)), 0);
    await backend.compute([graphs[0]!]);
    expect(read(state)).toEqual(new Array(64).fill(32));
    await backend.compute([graphs[1]!]);
    expect(read(state)).toEqual(new Array(64).fill(60));
    expect(arena.sizeBytes).toBeLessThan(64 * 4 * 6);
  });

  it('keeps outputs while inner values share memory', async () => {
    const x = leaf(context, [64], 'x');
    let y = x;
    const kept: number[] = [];
    for (let i = 1; i <= 20; i++) {
      y = context.op('add', [y, x], [], F32, [64, 1, 1, 1], `y${i}`);
      if (i % 5 === 0) kept.push(y);
    }
    for (const tensor of kept) context.setOutput(tensor);
    native().Buffer.allocate(backend, context);
    const graph = new (native().Graph)(context, [y]);
    const arena = new (native().Arena)(backend);
    arena.plan([graph]);
    context.write(x, bytesOf(new Array<number>(64).fill(1)), 0);
    await backend.compute([graph]);
    expect(kept.map((tensor) => read(tensor)[63])).toEqual([6, 11, 16, 21]);
    expect(arena.sizeBytes).toBeLessThan(20 * 256);
  });

  it('allocates inputs, and refuses leaves that nobody gave memory', async () => {
    const x = leaf(context, [4], 'x');
    const y = context.op('mul', [x, x], [], F32, [4, 1, 1, 1], 'y');
    context.setOutput(y);
    const graph = new (native().Graph)(context, [y]);
    expect(code(() => new (native().Arena)(backend).plan([graph]))).toBe('BACKEND');
    context.setInput(x);
    new (native().Arena)(backend).plan([graph]);
    context.write(x, bytesOf([1, 2, 3, 4]), 0);
    await backend.compute([graph]);
    expect(read(y)).toEqual([1, 4, 9, 16]);
  });

  it('refuses graphs that share an intermediate value, and can then plan them apart', () => {
    const x = leaf(context, [4], 'x');
    const y = context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'y');
    const z = context.op('sqrt', [y], [], F32, [4, 1, 1, 1], 'z');
    native().Buffer.allocate(backend, context);
    const graphs = [y, z].map((node) => new (native().Graph)(context, [node]));
    const arena = new (native().Arena)(backend);
    expect(code(() => arena.plan(graphs))).toBe('BAD_ARGUMENT');
    arena.plan([graphs[1]!]);
    expect(code(() => arena.plan([graphs[1]!]))).toBe('BAD_ARGUMENT');
  });

  it('takes its memory back when it is closed: views are empty, graphs throw CLOSED', async () => {
    const graph = slowGraph(2);
    await backend.compute([graph]);
    const arena = new (native().Arena)(backend);
    const y = context.op('sqrt', [0], [], F32, [512, 512, 1, 1], 'square');
    const square = new (native().Graph)(context, [y]);
    arena.plan([square]);
    await backend.compute([square]);
    const view = context.view(y);
    arena.close();
    expect(view).toHaveLength(0);
    expect(code(() => backend.compute([square]))).toBe('CLOSED');
    expect(code(() => arena.sizeBytes)).toBe('CLOSED');
  });
});

describe('a computation', () => {
  it('is stopped by cancel() with CANCELLED, with those that wait, and the backend goes on', async () => {
    const graph = slowGraph(60);
    const running = backend.compute([graph]);
    const waiting = backend.compute([graph]);
    backend.cancel();
    await expect(running).rejects.toMatchObject({ name: 'ZayascopeError', code: 'CANCELLED' });
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(backend.compute([graph])).resolves.toMatchObject({ nodes: 60 });
    backend.cancel();
  });

  it('runs after those that were asked for before, never beside them', async () => {
    const graph = slowGraph(8);
    const order: number[] = [];
    await Promise.all([0, 1, 2].map((index) => backend.compute([graph]).then(() => order.push(index))));
    expect(order).toEqual([0, 1, 2]);
  });

  it('finishes when all that it uses is closed meanwhile', async () => {
    const x = leaf(context, [512, 512], 'x');
    let y = x;
    for (let i = 0; i < 10; i++) y = context.op('mul_mat', [x, y], [], F32, [512, 512, 1, 1], `y${i}`);
    const buffer = native().Buffer.allocate(backend, context);
    context.fill(x, 0);
    const graph = new (native().Graph)(context, [y]);
    const arena = new (native().Arena)(backend);
    arena.plan([graph]);
    const running = backend.compute([graph]);
    for (const object of [arena, buffer, graph, context, backend]) object.close();
    await expect(running).resolves.toMatchObject({ nodes: 10 });
  });

  it('applies a new thread count to the next graph', async () => {
    const graph = slowGraph(4);
    for (const threads of [1, 2, 1]) {
      backend.setThreads(threads);
      await expect(backend.compute([graph])).resolves.toMatchObject({ nodes: 4 });
    }
  });

  it('of no graphs gives no nodes', async () => {
    await expect(backend.compute([])).resolves.toMatchObject({ nodes: 0 });
  });
});

describe('closed objects', () => {
  it('throw CLOSED in every function, and closing twice is allowed', () => {
    const x = leaf(context, [4], 'x');
    const graph = new (native().Graph)(context, [x]);
    const arena = new (native().Arena)(backend);
    const objects = [graph, arena, context, backend];
    for (const object of [...objects, ...objects]) object.close();
    const calls = [
      () => graph.nodes,
      () => graph.computeNodes,
      () => arena.plan([]),
      () => arena.sizeBytes,
      () => leaf(context, [4], 'y'),
      () => context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'y'),
      () => context.setOutput(x),
      () => context.setInput(x),
      () => context.read(x, new Uint8Array(4), 0),
      () => context.write(x, new Uint8Array(4), 0),
      () => context.fill(x, 0),
      () => context.view(x),
      () => backend.device,
      () => backend.setThreads(1),
      () => backend.compute([]),
      () => backend.cancel(),
      () => new (native().Graph)(context, [x]),
      () => new (native().Arena)(backend),
      () => native().Buffer.allocate(backend, context),
    ];
    expect(calls.map(code)).toEqual(calls.map(() => 'CLOSED'));
  });

  it.runIf(typeof Symbol.dispose === 'symbol')('are closed by Symbol.dispose', () => {
    backend[Symbol.dispose]();
    expect(code(() => backend.device)).toBe('CLOSED');
  });
});
