import { afterAll, describe, expect, it } from 'vitest';
import { type Dtype, ggmlType } from '../../src/dtype.js';
import { openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { reshape } from '../../src/graph/ops-layout.js';
import { mulMat, mulMatId } from '../../src/graph/ops-products.js';
import { ResidentMemory, writeResident } from '../../src/graph/resident.js';
import type { ResidentTensor, Tensor } from '../../src/graph/tensor.js';
import { native } from '../../src/native.js';
import { Random } from './random.js';

const [EXPERTS, ROWS, COLUMNS] = [4, 64, 512];
function normals(seed: number, count: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.normal());
}

const backend = openBackend('cpu', { threads: 2 });
afterAll(() => backend.close());

/**
 * The same quantised weight twice: as it is, and rearranged (undefined where this CPU has no layout for the
 * dtype).
 */
async function weights(memory: ResidentMemory, dtype: Dtype, shape: readonly number[]) {
  const values = normals(
    11,
    shape.reduce((a, b) => a * b),
  );
  const bytes = await native().quantize(values, ggmlType(dtype), COLUMNS, null);
  const spec = { name: `${dtype} weight`, dtype, shape };
  const [plain] = memory.allocate([spec]);
  const [repacked] = memory.allocateRepacked([spec]);
  writeResident(plain!, bytes);
  if (repacked !== undefined) writeResident(repacked, bytes);
  return { plain: plain!, repacked };
}

async function both(memory: ResidentMemory, a: ResidentTensor, b: ResidentTensor, count: number) {
  const [x, ids] = memory.allocate([
    { name: 'x', dtype: 'F32', shape: [count, COLUMNS] },
    { name: 'ids', dtype: 'I32', shape: [count] },
  ]);
  writeResident(x!, normals(5, count * COLUMNS));
  writeResident(
    ids!,
    Int32Array.from({ length: count }, (_, row) => (3 * row) % EXPERTS),
  );
  const graph = new Graph('repack');
  const product = (weight: ResidentTensor): Tensor =>
    weight.shape.length === 3
      ? mulMatId(graph.resident(weight), graph.resident(x!), graph.resident(ids!))
      : mulMat(graph.resident(weight), graph.resident(x!));
  graph.output('plain', product(a));
  graph.output('repacked', product(b));
  using compiled = compileGraphs(backend, [graph]);
  await backend.native.compute([compiled.graphs[0]!.native]);
  return compiled.graphs[0]!.outputs().map(({ bytes }) => new Float32Array(bytes.slice().buffer));
}

function nmse(reference: Float32Array, tested: Float32Array): number {
  let [error, power] = [0, 0];
  for (const [at, value] of reference.entries()) {
    error += (value - tested[at]!) ** 2;
    power += value ** 2;
  }
  return error / power;
}

describe('repacked weights', () => {
  // Both kernels multiply the same quantised weights with the same quantised rows: only the order of the F32
  // sums differs.
  it.each((['Q4_0', 'Q4_K'] as const).flatMap((dtype) => [1, 2, 5, 33].map((count) => ({ dtype, count }))))(
    'give the products of $dtype that plain ones give, $count rows',
    async ({ dtype, count }) => {
      for (const shape of [
        [ROWS, COLUMNS],
        [EXPERTS, ROWS, COLUMNS],
      ]) {
        using memory = new ResidentMemory(backend);
        const { plain, repacked } = await weights(memory, dtype, shape);
        if (repacked === undefined) continue; // a CPU without such a layout
        const [a, b] = await both(memory, plain, repacked, count);
        expect(nmse(a!, b!)).toBeLessThan(1e-12);
      }
    },
  );

  it('exist for some dtype on x64 and arm64 CPUs with the usual vector units', async () => {
    using memory = new ResidentMemory(backend);
    const { repacked } = await weights(memory, 'Q4_0', [ROWS, COLUMNS]);
    expect(repacked?.isRepacked).toBe(true);
  });

  it('are none for a dtype or a number of rows that has no layout', async () => {
    using memory = new ResidentMemory(backend);
    expect(memory.allocateRepacked([{ name: 'w', dtype: 'F32', shape: [ROWS, COLUMNS] }])).toEqual([
      undefined,
    ]);
    expect(memory.allocateRepacked([{ name: 'w', dtype: 'Q4_K', shape: [7, COLUMNS] }])).toEqual([undefined]);
  });

  it('are written whole and never read', async () => {
    using memory = new ResidentMemory(backend);
    const { repacked } = await weights(memory, 'Q4_0', [ROWS, COLUMNS]);
    const { context, handle } = repacked!;
    const bytes = new Uint8Array(144);
    expect(() => context.write(handle, bytes, 0)).toThrow(/expected all 18432 bytes/);
    for (const use of [
      () => context.read(handle, bytes, 0),
      () => context.view(handle),
      () => context.fill(handle, 0),
    ])
      expect(use).toThrow(expect.objectContaining({ code: 'BACKEND' }));
  });

  it('are refused by every op but the products, and as any other operand', async () => {
    using memory = new ResidentMemory(backend);
    const { repacked } = await weights(memory, 'Q4_0', [ROWS, COLUMNS]);
    const graph = new Graph('refused');
    const weight = graph.resident(repacked!);
    expect(() => reshape(weight, [2, ROWS / 2, COLUMNS])).toThrow(
      expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }),
    );
    expect(() => reshape(weight, [2, ROWS / 2, COLUMNS])).toThrow(/repacked weight as the matrix of mulMat/);
  });

  it('cannot be allocated in a buffer type that the device lacks or that does not serve them', () => {
    const context = new (native().Context)(1);
    context.tensor(ggmlType('F32'), [COLUMNS, ROWS, 1, 1], 'w');
    expect(() => native().Buffer.allocate(backend.native, context, 'NOWHERE')).toThrow(
      /expected an extra buffer type/,
    );
    expect(() => native().Buffer.allocate(backend.native, context, 'CPU_REPACK')).toThrow(
      /expected a tensor that the device multiplies with/,
    );
    context.close();
  });
});
