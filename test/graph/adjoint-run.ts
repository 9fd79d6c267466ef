import { adjoint, constantValues } from '../../src/graph/adjoint/adjoint.js';
import type { Backend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { evaluateExactly } from '../../src/graph/float64.js';
import { Graph } from '../../src/graph/graph.js';
import { cont } from '../../src/graph/ops-layout.js';
import { elementCount } from '../../src/graph/shape.js';
import type { Tensor } from '../../src/graph/tensor.js';
import type { AdjointCase } from './adjoint-cases.js';
import { Random } from './random.js';

/**
 * A case with values for its leaves, by their names: `x0`, `x1`, `ids`, `w`, and the `seed` of the result.
 */
export interface PlacedCase {
  graph: Graph;
  result: Tensor;
  wanted: readonly Tensor[];
  values: Readonly<Record<string, Float32Array | Int32Array>>;
}

export function placeCase(
  { shapes, ids, weight, values: kind, build }: AdjointCase,
  seed: number,
): PlacedCase {
  const random = new Random(seed);
  const graph = new Graph('case');
  const values: Record<string, Float32Array | Int32Array> = {};
  const leaf = (name: string, shape: readonly number[], value: () => number) => {
    values[name] = Float32Array.from({ length: elementCount(shape) }, value);
    return graph.input(name, 'F32', shape);
  };
  const value = () => {
    const any = random.normal();
    if (kind === 'zeros' && random.unit() < 0.2) return 0;
    return kind === 'positive' ? Math.abs(any) + 0.5 : any;
  };
  const wanted = shapes.map((shape, at) => leaf(`x${at}`, shape, value));
  values.ids = Int32Array.from(ids?.values ?? [0]);
  const picked = graph.input('ids', 'I32', ids?.shape ?? [1]);
  const result = cont(
    build(
      wanted,
      picked,
      leaf('w', weight ?? [1], () => random.normal()),
    ),
  );
  values.seed = Float32Array.from({ length: elementCount(result.shape) }, () => random.normal());
  return { graph, result, wanted, values };
}

/** The gradients that the device computes, by the names of the operands. */
export async function deviceGradients(
  backend: Backend,
  { graph, result, wanted, values }: PlacedCase,
): Promise<Record<string, number[]>> {
  const seed = graph.input('seed', 'F32', result.shape);
  const gradients = adjoint(graph, { seeds: new Map([[result, seed]]), wanted });
  for (const [value, gradient] of gradients) graph.output(value.name, gradient);
  using compiled = compileGraphs(backend, [graph]);
  const only = compiled.graphs[0]!;
  for (const input of only.inputs) only.setInput(input.name, constantValues(input) ?? values[input.name]!);
  await backend.native.compute([only.native]);
  return Object.fromEntries(
    only.outputs().map(({ name, bytes }) => [name, Array.from(new Float32Array(bytes.slice().buffer))]),
  );
}

const STEP = 1e-5;

/** Central differences in double precision. */
export async function differences({
  graph,
  result,
  wanted,
  values,
}: PlacedCase): Promise<Record<string, number[]>> {
  const nodes = graph.tensors.slice(0, result.id + 1);
  const measure = async (moved?: Tensor, at = 0, by = 0) => {
    const y = await evaluateExactly(nodes, async (leaf) => {
      const own = Float64Array.from(values[leaf.name]!);
      if (leaf === moved) own[at]! += by;
      return own;
    });
    return y.reduce((sum, value, index) => sum + value * values.seed![index]!, 0);
  };
  const found: Record<string, number[]> = {};
  for (const x of wanted) {
    const slopes: number[] = [];
    for (let at = 0; at < elementCount(x.shape); at++)
      slopes.push(((await measure(x, at, STEP)) - (await measure(x, at, -STEP))) / (2 * STEP));
    found[x.name] = slopes;
  }
  return found;
}

/** Relative L2 distance. */
export function distance(ours: readonly number[], theirs: readonly number[]): number {
  if (ours.length !== theirs.length) return Number.POSITIVE_INFINITY;
  const apart = Math.hypot(...ours.map((value, at) => value - theirs[at]!));
  return apart / Math.hypot(...theirs);
}
