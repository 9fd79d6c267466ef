import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Backend, openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { getRows, reshape } from '../../src/graph/ops-layout.js';
import { mulMatId } from '../../src/graph/ops-products.js';

let backend: Backend;
beforeAll(() => {
  backend = openBackend('cpu', { threads: 1 });
});
afterAll(() => backend.close());

it('indices outside the table that they point into are refused, also behind views; ggml would abort', async () => {
  const graph = new Graph('indices');
  const ids = graph.input('ids', 'I32', [2, 2]);
  const rows = getRows(graph.input('table', 'F32', [5, 3]), reshape(ids, [4]));
  const experts = graph.input('experts', 'F32', [3, 2, 3]);
  graph.output('product', mulMatId(experts, rows, reshape(ids, [4])));
  using compiled = compileGraphs(backend, [graph]);
  const [only] = compiled.graphs;
  only!.setInput('table', new Float32Array(15).fill(1));
  only!.setInput('experts', new Float32Array(18).fill(1));
  // The smaller of the two tables has 3 rows.
  for (const wrong of [-1, 3, 5, 2 ** 31 - 1])
    expect(() => only!.setInput('ids', Int32Array.of(0, 1, wrong, 2))).toThrow(
      expect.objectContaining({
        code: 'BAD_ARGUMENT',
        message: expect.stringContaining(`got ${wrong} at 2`),
      }),
    );
  only!.setInput('ids', Int32Array.of(0, 1, 2, 2));
  await backend.native.compute([only!.native]);
  expect([...new Float32Array(only!.outputs()[0]!.bytes.slice().buffer)]).toEqual(new Array(8).fill(3));
});
