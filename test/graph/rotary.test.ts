import { afterAll, expect, it } from 'vitest';
import { openBackend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { rope } from '../../src/graph/ops-products.js';
import { type RotaryAngles, ropeFromTables, rotaryTables } from '../../src/graph/rotary.js';
import { build } from './nd-array.js';
import { Random } from './random.js';
import { rope as referenceRope, ropeAngle } from './reference-products.js';
import { decode } from './rounding.js';
import { nmse, TOLERANCE } from './run-op.js';

const backend = openBackend('cpu', { threads: 2 });
afterAll(() => backend.close());

/**
 * Turns random heads by both implementations and gives their NMSE against the reference's F32 angles and
 * against exact ones.
 */
async function measure(
  positions: readonly number[],
  heads: number,
  headDim: number,
  dims: number,
  base: number,
  angles: RotaryAngles = 'power',
) {
  const graph = new Graph('rotary');
  const shape = [positions.length, heads, headDim];
  const x = graph.input('x', 'F32', shape);
  const table = [positions.length, 1, headDim];
  const tables = [graph.input('cos', 'F32', table), graph.input('sin', 'F32', table)] as const;
  graph.output('tables', ropeFromTables(x, ...tables, dims));
  graph.output('ggml', rope(x, graph.input('positions', 'I32', [positions.length]), dims, base));
  using compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  const random = new Random(positions.length);
  const values = build(shape, () => Math.fround(random.normal()));
  const { cos, sin } = rotaryTables(positions, headDim, dims, base, angles);
  only.setInput('x', Float32Array.from(values.data));
  only.setInput('cos', cos);
  only.setInput('sin', sin);
  only.setInput('positions', Int32Array.from(positions));
  await backend.native.compute([only.native]);
  const [ours, ggml] = only.outputs().map(({ bytes }) => decode('F32', bytes));
  const against = (angle: (position: number, pair: number) => number) => {
    const expected = referenceRope(values, positions, dims, angle).data;
    return { ours: nmse(ours!, expected), ggml: nmse(ggml!, expected) };
  };
  return {
    reference: against(referenceAngle(dims, base)),
    exact: against(ropeAngle(dims, base)),
    apart: nmse(ours!, Float64Array.from(ggml!)),
  };
}

/** The angle as transformers computes it: every step in F32. */
function referenceAngle(dims: number, base: number) {
  return (position: number, pair: number) => {
    const power = Math.fround(base ** Math.fround((2 * pair) / dims));
    return Math.fround(position * Math.fround(1 / power));
  };
}

it.each([
  { heads: 3, headDim: 8, dims: 8, base: 10_000 },
  { heads: 1, headDim: 128, dims: 64, base: 5_000_000 },
  { heads: 2, headDim: 12, dims: 2, base: 10_000 },
])('ropeFromTables turns by the reference’s angles: $dims of $headDim dims, base $base', async (form) => {
  const positions = [0, 1, 2, 3, 17, 1000, 100_000];
  const { reference } = await measure(positions, form.heads, form.headDim, form.dims, form.base);
  expect(reference.ours).toBeLessThanOrEqual(TOLERANCE);
});

it('ropeFromTables stays with the reference at position 100,000, where ggml’s own rope has drifted', async () => {
  // NMSE at this form: ours 1e-15, ggml's 2.4e-7; against exact angles 9.4e-8 and 2.7e-7.
  const { reference, exact } = await measure([99_999, 100_000, 131_071], 2, 128, 64, 5_000_000);
  expect(reference.ours).toBeLessThanOrEqual(TOLERANCE);
  expect(reference.ours).toBeLessThan(reference.ggml);
  expect(exact.ours).toBeLessThan(exact.ggml);
});

it.each([
  { headDim: 128, dims: 64, base: 5_000_000 },
  { headDim: 16, dims: 8, base: 5_000_000 },
])(
  'angles multiplied up are those of ggml’s own rope: $dims of $headDim dims',
  async ({ headDim, dims, base }) => {
    const positions = [0, 1, 2, 399, 4095, 100_000];
    const { reference, apart } = await measure(positions, 2, headDim, dims, base, 'product');
    expect(apart).toBeLessThanOrEqual(TOLERANCE);
    // The reference's are others.
    expect(reference.ours).toBeGreaterThan(100 * TOLERANCE);
  },
);

it('rotaryTables rejects dims that are odd, none or beyond the head', () => {
  for (const dims of [3, 0, 10, 2.5])
    expect(() => rotaryTables([0], 8, dims, 10_000)).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT', op: 'rotaryTables' }),
    );
});
