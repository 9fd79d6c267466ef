import { describe, expect, it } from 'vitest';
import { native } from '../../src/native.js';
import { bytesOf, leaf } from './run-op.js';

const F32 = 0;

function graphOfTwo() {
  const backend = new (native().Backend)('CPU');
  const context = new (native().Context)(16);
  const x = leaf(context, [4], 'x');
  const sum = context.op('add', [x, x], [], F32, [4, 1, 1, 1], 'sum');
  const product = context.op('mul', [x, x], [], F32, [4, 1, 1, 1], 'product');
  for (const tensor of [sum, product]) context.setOutput(tensor);
  native().Buffer.allocate(backend, context);
  context.write(x, bytesOf([1, 2, 3, 4]), 0);
  const graph = new (native().Graph)(context, [sum, product]);
  const arena = new (native().Arena)(backend);
  arena.plan([graph]);
  return { backend, context, graph, arena, sum, product };
}

describe('Context.readAll', () => {
  it('copies whole tensors, one into each array', async () => {
    const { backend, context, graph, sum, product } = graphOfTwo();
    await backend.compute([graph]);
    const bytes = [new Uint8Array(16), new Uint8Array(16)];
    await context.readAll([product, sum], bytes);
    expect(bytes.map(({ buffer }) => [...new Float32Array(buffer)])).toEqual([
      [1, 4, 9, 16],
      [2, 4, 6, 8],
    ]);
  });

  it('holds what it reads, though all of it is closed meanwhile', async () => {
    const { backend, context, graph, arena, sum } = graphOfTwo();
    await backend.compute([graph]);
    const bytes = new Uint8Array(16);
    const done = context.readAll([sum], [bytes]);
    for (const each of [graph, arena, context, backend]) each.close();
    await done;
    expect([...new Float32Array(bytes.buffer)]).toEqual([2, 4, 6, 8]);
  });

  it.each([
    ['fewer arrays than tensors', (sum: number) => [[sum], []] as const, 'expected one Uint8Array a tensor'],
    [
      'an array of another size',
      (sum: number) => [[sum], [new Uint8Array(8)]] as const,
      'expected all 16 bytes',
    ],
    [
      'another kind of array',
      (sum: number) => [[sum], [new Float32Array(4)]] as const,
      'expected bytes to be Uint8Arrays',
    ],
  ])('throws BAD_ARGUMENT for %s', (_what, args, message) => {
    const { context, sum } = graphOfTwo();
    const [tensors, bytes] = args(sum);
    const call = () => context.readAll(tensors, bytes as unknown as Uint8Array[]);
    expect(call).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(call).toThrow(message);
  });
});
