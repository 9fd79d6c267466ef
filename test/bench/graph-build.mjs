// What a graph costs besides its arithmetic, on the CPU: building and compiling one of about 75 nodes, and
// running 40 tiny graphs in one call or in 40.
//
//   npm run bench -- graph-build [--repeats 200] [--threads 1]
import { parseArgs } from 'node:util';
import { openBackend } from '../../dist/graph/backend.js';
import { compileGraphs } from '../../dist/graph/compile.js';
import { Graph } from '../../dist/graph/graph.js';
import { add, mul, silu } from '../../dist/graph/ops-arithmetic.js';
import { mulMat } from '../../dist/graph/ops-products.js';
import { rmsNorm } from '../../dist/graph/ops-rows.js';

const { values } = parseArgs({
  options: { repeats: { type: 'string', default: '200' }, threads: { type: 'string', default: '1' } },
});
const repeats = Number(values.repeats);
const threads = Number(values.threads);
const SHAPE = [1, 64]; // one token: as little arithmetic as there can be
const GROUPS = 15; // of 5 nodes
const TINY_GRAPHS = 40;

/** A chain of `groups` times norm, product, matmul, SiLU and sum. */
function chain(groups) {
  const graph = new Graph('chain');
  const weight = graph.input('weight', 'F32', [SHAPE[1], SHAPE[1]]);
  const scale = graph.input('scale', 'F32', [SHAPE[1]]);
  let x = graph.input('x', 'F32', SHAPE);
  for (let i = 0; i < groups; i++) x = add(x, silu(mulMat(weight, mul(rmsNorm(x, 1e-6), scale))));
  graph.output('y', x);
  return graph;
}

function fill({ graph, setInput }) {
  for (const { op, name, shape } of graph.tensors)
    if (op === 'input') setInput(name, new Float32Array(shape.reduce((a, b) => a * b)).fill(0.01));
}

/** Median of `repeats` runs, in ms, after a tenth of them as a warm-up. */
async function time(run) {
  const samples = [];
  for (let i = -Math.ceil(repeats / 10); i < repeats; i++) {
    const start = performance.now();
    await run();
    if (i >= 0) samples.push(performance.now() - start);
  }
  return samples.sort((a, b) => a - b)[samples.length >> 1];
}

const backend = openBackend('cpu', { threads });
const nodes = chain(GROUPS).computeNodes;
const built = await time(() => chain(GROUPS));
const compiled = await time(() => compileGraphs(backend, [chain(GROUPS)]).close());

const tiny = compileGraphs(
  backend,
  Array.from({ length: TINY_GRAPHS }, () => chain(1)),
);
for (const graph of tiny.graphs) fill(graph);
const handles = tiny.graphs.map((graph) => graph.native);
const together = await time(() => backend.native.compute(handles));
const apart = await time(async () => {
  for (const handle of handles) await backend.native.compute([handle]);
});

console.log(
  `device ${backend.device.description}, ${threads} thread(s), F32 [${SHAPE.join(', ')}], median of ${repeats}`,
);
console.log(`build a graph of ${nodes} nodes                 ${built.toFixed(3)} ms`);
console.log(`build, compile and close it                ${compiled.toFixed(3)} ms`);
console.log(`${TINY_GRAPHS} graphs of 5 nodes, one call              ${together.toFixed(3)} ms`);
console.log(`${TINY_GRAPHS} graphs of 5 nodes, ${TINY_GRAPHS} calls             ${apart.toFixed(3)} ms`);
tiny.close();
backend.close();
