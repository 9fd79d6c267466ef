import { afterAll, expect, it } from 'vitest';
import {
  attentionOutput,
  attentionWeights,
  causalMask,
  transposedValues,
} from '../../src/graph/attention.js';
import { openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { conv1dDepthwise, conv1dGrouped } from '../../src/graph/convolution.js';
import { Graph } from '../../src/graph/graph.js';
import { add, mul, swiglu } from '../../src/graph/ops-arithmetic.js';
import { cast, concat, reshape } from '../../src/graph/ops-layout.js';
import { mulMat } from '../../src/graph/ops-products.js';
import { l2Norm, rmsNorm } from '../../src/graph/ops-rows.js';
import { isPacked } from '../../src/graph/tensor.js';
import { Random } from './random.js';

const TOKENS = 6;
const WIDTH = 20;
const backend = openBackend('cpu', { threads: 2 });
afterAll(() => backend.close());

/** A block of attention with convolutions before it and a gated product behind it; `result` is its output. */
function block(): Graph {
  const graph = new Graph('block');
  const hidden = graph.input('hidden', 'F32', [TOKENS + 2, WIDTH]);
  const input = (name: string, ...shape: number[]) => graph.input(name, 'F32', shape);
  const normed = mul(rmsNorm(hidden, 1e-6), input('norm', WIDTH));
  const deep = conv1dDepthwise(normed, input('deep', WIDTH, 1, 2), input('deep bias', WIDTH));
  const grouped = conv1dGrouped(deep, input('grouped', WIDTH, 2, 2), input('grouped bias', WIDTH), {
    groups: 10,
  });
  const query = l2Norm(reshape(grouped, [TOKENS, 4, 5]), 1e-6);
  const kv = mulMat(cast(input('kv', 10, WIDTH), 'F16'), grouped);
  const key = reshape(kv, [TOKENS, 2, 5]);
  const weights = attentionWeights(query, key, input('mask', TOKENS, TOKENS), 0.5);
  const mixed = attentionOutput(weights, transposedValues(key));
  const gated = swiglu(mulMat(input('gate', 2 * WIDTH, WIDTH), add(mixed, grouped)));
  graph.output('result', concat(gated, mixed, 1));
  return graph;
}

/** Runs a graph, with others that ran before it in the same arena; gives its `result`. */
async function run(graph: Graph, ...before: readonly Graph[]): Promise<Uint8Array> {
  using compiled = compileGraphs(backend, [graph, ...before]);
  for (const { native } of compiled.graphs.slice(1)) await backend.native.compute([native]);
  const only = compiled.graphs[0]!;
  const random = new Random(1);
  for (const { op, name, shape } of graph.tensors) {
    const size = shape.reduce((a, b) => a * b);
    const values = Float32Array.from({ length: size }, () => random.normal());
    if (op === 'input') only.setInput(name, name === 'mask' ? causalMask(TOKENS, 0, TOKENS) : values);
  }
  await backend.native.compute([only.native]);
  return only
    .outputs()
    .find(({ name }) => name === 'result')!
    .bytes.slice();
}

it('a graph with every node marked as an output gives the same bits', async () => {
  const plain = await run(block());
  const marked = block();
  const nodes = marked.tensors.filter((tensor) => tensor.op !== 'input' && isPacked(tensor));
  for (const node of nodes) marked.output(node.name, node);
  expect(nodes.length).toBeGreaterThan(30);
  expect(await run(marked)).toEqual(plain);
  expect(new Float32Array(plain.buffer).every(Number.isFinite)).toBe(true);
});

it('a graph that shares its memory with a larger one gives the same bits', async () => {
  const larger = new Graph('larger');
  larger.output('y', rmsNorm(larger.input('x', 'F32', [100, 100]), 0));
  expect(await run(block(), larger)).toEqual(await run(block()));
});
