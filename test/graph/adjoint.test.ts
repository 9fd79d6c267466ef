import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adjoint, DIFFERENTIABLE } from '../../src/graph/adjoint/adjoint.js';
import { type Backend, openBackend } from '../../src/graph/backend.js';
import { Graph } from '../../src/graph/graph.js';
import { add, mul } from '../../src/graph/ops-arithmetic.js';
import { ssmConv } from '../../src/graph/ops-products.js';
import { argmax } from '../../src/graph/ops-rows.js';
import { ADJOINT_CASES } from './adjoint-cases.js';
import { deviceGradients, differences, distance, placeCase } from './adjoint-run.js';

let backend: Backend;
beforeAll(() => {
  backend = openBackend('cpu', { threads: 1 });
});
afterAll(() => backend.close());

describe('adjoint', () => {
  it.each(ADJOINT_CASES.map((each, at) => [`${each.name} ${at}`, each, at] as const))(
    'of %s is what differences in double precision give',
    async (_, each, at) => {
      const expected = await differences(placeCase(each, at));
      const gradients = await deviceGradients(backend, placeCase(each, at));
      expect(Object.keys(gradients).sort()).toEqual(Object.keys(expected).sort());
      for (const [name, slopes] of Object.entries(expected))
        expect(distance(gradients[name]!, slopes), name).toBeLessThan(2e-6);
    },
  );

  it('is tried for every op that has one', () => {
    const tried = new Set(ADJOINT_CASES.map(({ name }) => name));
    expect(DIFFERENTIABLE.filter((op) => !tried.has(op))).toEqual(['copyInto']);
  });

  it('adds up what arrives on several ways, and at what stands for another value', () => {
    const graph = new Graph('ways');
    const x = graph.input('x', 'F32', [4]);
    const computed = mul(x, x);
    const given = graph.input('given', 'F32', [4]);
    const y = add(mul(given, given), x);
    const seeds = new Map([[y, graph.input('seed', 'F32', [4])]]);
    expect(adjoint(graph, { seeds, wanted: [x, computed] }).has(computed)).toBe(false);
    const standsFor = new Map([[given, computed]]);
    expect([...adjoint(graph, { seeds, wanted: [x, computed], standsFor }).keys()]).toEqual([x, computed]);
  });

  it('says which op has no backward, unless nothing asks for it', () => {
    const graph = new Graph('refused');
    const x = graph.input('x', 'F32', [1, 3, 5]);
    const y = ssmConv(x, graph.input('kernel', 'F32', [3, 2]));
    const seeds = new Map([[y, y]]);
    expect(() => adjoint(graph, { seeds, wanted: [x] })).toThrow(
      /expected an op with a backward, got ssmConv/,
    );
    expect(adjoint(graph, { seeds, wanted: [] }).size).toBe(0);
  });

  it('passes nothing through a choice', () => {
    const graph = new Graph('choice');
    const x = graph.input('x', 'F32', [2, 3]);
    const ids = argmax(x);
    expect(adjoint(graph, { seeds: new Map([[ids, ids]]), wanted: [x] }).size).toBe(0);
  });
});
