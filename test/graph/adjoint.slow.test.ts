import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { pythonJson } from '../reference/python.js';
import { ADJOINT_CASES } from './adjoint-cases.js';
import { deviceGradients, distance, placeCase } from './adjoint-run.js';

it("is PyTorch's autograd for every op, to 1e-6", async () => {
  using backend = openBackend('cpu', { threads: 1 });
  const cases = ADJOINT_CASES.map((each, seed) => {
    const { values, graph } = placeCase(each, seed);
    const leaf = (name: string) => {
      const { shape } = graph.tensors.find((tensor) => tensor.name === name)!;
      return { shape, data: Array.from(values[name]!) };
    };
    const { torch, shapes } = each;
    const x = shapes.map((_, at) => leaf(`x${at}`));
    return { torch, x, ids: leaf('ids'), w: leaf('w'), seed: Array.from(values.seed!) };
  });
  const expected = pythonJson<number[][][]>(
    [join(import.meta.dirname, 'adjoint_autograd.py')],
    JSON.stringify(cases),
  );
  for (const [seed, each] of ADJOINT_CASES.entries()) {
    const gradients = await deviceGradients(backend, placeCase(each, seed));
    for (const [at, slopes] of expected[seed]!.entries())
      expect(distance(gradients[`x${at}`]!, slopes), `${each.name} ${seed} x${at}`).toBeLessThan(1e-6);
  }
});
