import { expect, it } from 'vitest';
import { adjoint, constantValues } from '../../src/graph/adjoint/adjoint.js';
import { openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { mulMat } from '../../src/graph/ops-products.js';

it('goes through a matrix that is too large to be transposed at once', async () => {
  using backend = openBackend('cpu', { threads: 1 });
  const graph = new Graph('head');
  const [rows, width] = [70_001, 1024];
  const x = graph.input('x', 'F32', [1, width]);
  const y = mulMat(graph.input('w', 'F32', [rows, width]), x);
  const seeds = new Map([[y, graph.input('seed', 'F32', [1, rows])]]);
  graph.output('gradient', adjoint(graph, { seeds, wanted: [x] }).get(x)!);
  using compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  // Two rows count: the first, and the last, which is in the second part.
  const w = Float32Array.from({ length: rows * width }, (_, at) => at % 1000);
  const seed = new Float32Array(rows);
  [seed[0], seed[rows - 1]] = [2, -3];
  const values: Record<string, Float32Array> = { w, seed, x: new Float32Array(width) };
  for (const input of only.inputs) only.setInput(input.name, constantValues(input) ?? values[input.name]!);
  await backend.native.compute([only.native]);
  const gradient = new Float32Array(only.outputs()[0]!.bytes.slice().buffer);
  const expected = gradient.map((_, at) => 2 * w[at]! - 3 * w[(rows - 1) * width + at]!);
  expect(gradient).toEqual(expected);
});
