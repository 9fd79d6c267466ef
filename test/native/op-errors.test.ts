import { beforeEach, describe, expect, it } from 'vitest';
import { type NativeContext, native } from '../../src/native.js';
import { leaf } from './run-op.js';

const F32 = 0;
const SIZE_3 = [3, 1, 1, 1];

describe('errors while a graph is built', () => {
  let context: NativeContext;
  let x: number;
  beforeEach(() => {
    context = new (native().Context)(16);
    x = leaf(context, [3], 'x');
  });

  function code(run: () => unknown): string {
    try {
      run();
    } catch (error) {
      expect(error).toMatchObject({ name: 'ZayascopeError' });
      return (error as { code: string }).code;
    }
    return 'no error';
  }

  it("turns a failed ggml assertion into BACKEND with ggml's own words, and the process lives", () => {
    const wrong = leaf(context, [5], 'wrong');
    expect(() => context.op('mul_mat', [x, wrong], [], F32, [1, 1, 1, 1], 'y')).toThrow(
      /GGML_ASSERT\(ggml_can_mul_mat\(a, b\)\)/,
    );
  });

  it('refuses further ops in a context in which ggml stopped half-way', () => {
    const wrong = leaf(context, [5], 'wrong');
    expect(code(() => context.op('add', [x, wrong], [], F32, SIZE_3, 'y'))).toBe('BACKEND');
    expect(() => context.op('sqrt', [x], [], F32, SIZE_3, 'y')).toThrow(/build a new one/);
  });

  it('reports a result other than the caller expected as SHAPE_MISMATCH, and the context stays usable', () => {
    expect(code(() => context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'y'))).toBe('SHAPE_MISMATCH');
    expect(code(() => context.op('sqrt', [x], [], 1, SIZE_3, 'y'))).toBe('SHAPE_MISMATCH');
    expect(context.op('sqrt', [x], [], F32, SIZE_3, 'y')).toBe(1);
  });

  it('refuses more tensors than the context was made for', () => {
    const small = new (native().Context)(1);
    leaf(small, [1], 'a');
    expect(code(() => leaf(small, [1], 'b'))).toBe('BACKEND');
    expect(code(() => small.op('sqrt', [0], [], F32, [1, 1, 1, 1], 'c'))).toBe('BACKEND');
  });

  it.each([
    ['an unknown op', () => context.op('nope', [x], [], F32, SIZE_3, 'y')],
    ['too few sources', () => context.op('add', [x], [], F32, SIZE_3, 'y')],
    ['too many sources', () => context.op('sqrt', [x, x], [], F32, SIZE_3, 'y')],
    ['a missing parameter', () => context.op('scale', [x], [], F32, SIZE_3, 'y')],
    ['a surplus parameter', () => context.op('sqrt', [x], [1], F32, SIZE_3, 'y')],
    ['a fraction for an integer', () => context.op('argsort', [x], [0.5], 26, SIZE_3, 'y')],
    ['NaN for a float', () => context.op('scale', [x], [Number.NaN], F32, SIZE_3, 'y')],
    ['a negative size', () => context.op('reshape', [x], [-3, 1, 1, 1], F32, SIZE_3, 'y')],
    ['a type that ggml dropped', () => context.op('cast', [x], [4], F32, SIZE_3, 'y')],
    ['a handle of no tensor', () => context.op('sqrt', [99], [], F32, SIZE_3, 'y')],
    ['a negative handle', () => context.op('sqrt', [-1], [], F32, SIZE_3, 'y')],
    ['three sizes', () => context.op('sqrt', [x], [], F32, [3, 1, 1], 'y')],
    ['a size of 0', () => context.tensor(F32, [0, 1, 1, 1], 'y')],
    ['sizes beyond any memory', () => context.tensor(F32, [2 ** 40, 2 ** 40, 1, 1], 'y')],
    ['rows that break a block', () => context.tensor(8, [33, 1, 1, 1], 'y')],
    ['an input that is a node', () => context.setInput(context.op('sqrt', [x], [], F32, SIZE_3, 'y'))],
  ])('refuses %s with BAD_ARGUMENT', (_, run) => {
    expect(code(run)).toBe('BAD_ARGUMENT');
  });

  it('refuses arguments of the wrong kind or number in every function with BAD_ARGUMENT', () => {
    const addon = native();
    const backend = new addon.Backend('CPU');
    const graph = new addon.Graph(context, [x]);
    const arena = new addon.Arena(backend);
    // biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
    const loose = (value: unknown): any => value;
    const wrong: Record<string, () => unknown> = {
      'Backend()': () => new (loose(addon.Backend))(),
      'Backend(7)': () => new (loose(addon.Backend))(7),
      'Backend(unknown)': () => new addon.Backend('NoSuchDevice'),
      'Context(text)': () => new (loose(addon.Context))('4'),
      'Context(0)': () => new addon.Context(0),
      'Context(1.5)': () => new addon.Context(1.5),
      'Graph({})': () => new (loose(addon.Graph))({}, [0]),
      'Graph(backend)': () => new (loose(addon.Graph))(backend, [0]),
      'Graph(no outputs)': () => new addon.Graph(context, []),
      'Graph(text)': () => new (loose(addon.Graph))(context, 'x'),
      'Arena(context)': () => new (loose(addon.Arena))(context),
      'Mapping(7)': () => new (loose(addon.Mapping))(7),
      'Buffer()': () => new (loose(addon.Buffer))(),
      'Buffer({}, 1)': () => new (loose(addon.Buffer))({}, 1),
      'allocate({})': () => addon.Buffer.allocate(loose({}), context),
      'allocate(null)': () => addon.Buffer.allocate(loose(null), context),
      'attach(context)': () => addon.Buffer.attach(loose(context), context, 0, 0),
      'setThreads(0)': () => backend.setThreads(0),
      'setThreads(many)': () => backend.setThreads(100_000),
      'supportsOp()': () => loose(backend).supportsOp(context),
      'compute()': () => loose(backend).compute(),
      'compute(graph)': () => backend.compute(loose(graph)),
      'compute([{}])': () => backend.compute([loose({})]),
      'compute(graphs, options)': () => loose(backend).compute([graph], {}),
      'plan([arena])': () => arena.plan([loose(arena)]),
      'tensor(sparse)': () => context.tensor(F32, loose([1, undefined, 1, 1]), 'y'),
      'tensor(name)': () => context.tensor(F32, [1, 1, 1, 1], loose(5)),
      'tensor(type)': () => context.tensor(999, [1, 1, 1, 1], 'y'),
      'op(sources)': () => context.op('sqrt', loose({ length: 1 }), [], F32, SIZE_3, 'y'),
      'op(params)': () => context.op('scale', [x], loose(['2']), F32, SIZE_3, 'y'),
      'view(text)': () => context.view(loose('0')),
      'write(array)': () => context.write(0, loose([1, 2, 3]), 0),
      'write(Float32Array)': () => context.write(0, loose(new Float32Array(3)), 0),
      'read(negative)': () => context.read(0, new Uint8Array(1), -1),
      'adopt(backend)': () => context.adopt(loose(backend), 0),
      'loadBackend()': () => loose(addon).loadBackend(),
      'version(1)': () => loose(addon).version(1),
      'rowStats(bytes)': () => addon.rowStats(loose([{ bytes: [], type: F32, columns: 1 }])),
      'rowStats(columns)': () => addon.rowStats([{ bytes: new Uint8Array(12), type: F32, columns: 2 }]),
      'dequantize(out)': () => addon.dequantize(new Uint8Array(34), 8, 32, new Float32Array(31)),
      'quantize(importance)': () => addon.quantize(new Float32Array(32), 8, 32, loose(undefined)),
      'ggufHeader(null)': () => addon.ggufHeader(loose(null), []),
      'setErrorClass(1)': () => addon.setErrorClass(loose(1)),
    };
    const codes = Object.fromEntries(Object.entries(wrong).map(([name, run]) => [name, code(run)]));
    expect(codes).toEqual(Object.fromEntries(Object.keys(wrong).map((name) => [name, 'BAD_ARGUMENT'])));
  });

  it('refuses a backend library that does not load with BACKEND', () => {
    expect(code(() => native().loadBackend('/no/such/library.so'))).toBe('BACKEND');
  });
});
