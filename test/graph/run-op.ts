import { type Dtype, isQuantized } from '../../src/dtype.js';
import type { Backend } from '../../src/graph/backend.js';
import { compileGraphs } from '../../src/graph/compile.js';
import { Graph } from '../../src/graph/graph.js';
import { cont, getRows } from '../../src/graph/ops-layout.js';
import { formatShape } from '../../src/graph/shape.js';
import { isContiguous, type Tensor } from '../../src/graph/tensor.js';
import type { NdArray } from './nd-array.js';
import { dequantize, type Operand, type Placed, placeOperand } from './operand.js';
import { Random } from './random.js';
import { decode, encode, roundTo } from './rounding.js';

/**
 * NMSE against double precision that a result in F32 may have: sums of a few hundred F32 products stay below
 * 1e-13.
 */
export const TOLERANCE = 1e-12;

/** An op with operands, and what it must give. */
export interface OpCase {
  operands: Readonly<Record<string, Operand>>;
  build(tensors: Record<string, Tensor>): Tensor;
  /**
   * In double precision; rounded to `dtype` before the comparison. Undefined where the op leaves the result
   * open: then it must only run.
   */
  expected(values: Record<string, NdArray>): NdArray | undefined;
  /** Dtype of the result. */
  dtype: Dtype;
  /** Largest NMSE; default {@link TOLERANCE}. */
  tolerance?: number;
  /** Differences up to this do not count; default 0. */
  floor?: number;
  seed?: number;
}

/**
 * Says where ours and the reference differ, in one line with the operands; undefined if they agree in shape,
 * dtype and values.
 */
export async function runOp(backend: Backend, test: OpCase): Promise<string | undefined> {
  const { graph, placed, result } = await buildOp(test);
  const where = `${describeOperands(test.operands)} seed ${test.seed ?? 0}`;
  if (result.dtype !== test.dtype) return `expected dtype ${test.dtype}, got ${result.dtype} (${where})`;
  const expected = test.expected(Object.fromEntries(placed.map(({ name, values }) => [name, values])));
  if (expected !== undefined && formatShape(result.shape) !== formatShape(expected.shape))
    return `expected shape ${formatShape(expected.shape)}, got ${formatShape(result.shape)} (${where})`;
  const actual = await computeOp(backend, graph, placed, result);
  if (actual === undefined || expected === undefined) return undefined;
  const rounded = expected.data.map((value) =>
    isQuantized(test.dtype) ? value : roundTo(test.dtype, value),
  );
  const error = nmse(actual, rounded, test.floor);
  const tolerance = test.tolerance ?? TOLERANCE;
  return error <= tolerance ? undefined : `expected NMSE <= ${tolerance}, got ${error} (${where})`;
}

/** Builds the graph of a case. Throws what the op's rule throws. */
export async function buildOp(test: OpCase): Promise<{ graph: Graph; placed: Placed[]; result: Tensor }> {
  const graph = new Graph('op');
  const random = new Random(test.seed ?? 0);
  const placed: Placed[] = [];
  for (const [name, operand] of Object.entries(test.operands))
    placed.push(await placeOperand(graph, name, operand, random));
  const result = test.build(Object.fromEntries(placed.map(({ name, tensor }) => [name, tensor])));
  return { graph, placed, result };
}

/**
 * Runs the graph and reads the result; undefined where the vocabulary has no way to read it (strided values
 * of dtypes that are never computed with).
 */
export async function computeOp(
  backend: Backend,
  graph: Graph,
  placed: readonly Placed[],
  result: Tensor,
): Promise<Float64Array | undefined> {
  const inputs = placed.map(({ name, bytes }) => ({ name, bytes }));
  const shown = readable(graph, result, inputs);
  if (shown === undefined) graph.effects.push(result);
  else graph.output('result', shown);
  using compiled = compileGraphs(backend, [graph]);
  const [only] = compiled.graphs;
  const used = reachable(shown ?? result);
  for (const { name, bytes } of inputs) if (used.has(name)) only!.setInput(name, bytes);
  await backend.native.compute([only!.native]);
  if (shown === undefined) return undefined;
  const { dtype, bytes, shape } = only!.outputs()[0]!;
  return isQuantized(dtype)
    ? dequantize(dtype, bytes.slice(), shape[shape.length - 1]!)
    : decode(dtype, bytes);
}

function readable(
  graph: Graph,
  result: Tensor,
  inputs: { name: string; bytes: Uint8Array }[],
): Tensor | undefined {
  if (isContiguous(result)) return result;
  if (['F32', 'F16', 'BF16', 'I32'].includes(result.dtype)) return cont(result);
  if (!isQuantized(result.dtype) || (result.shape.length !== 2 && result.shape.length !== 3))
    return undefined;
  const rows = result.shape[result.shape.length - 2]!;
  const shape = result.shape.slice(0, -1);
  const ids = Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i % rows);
  inputs.push({ name: 'ids of all rows', bytes: encode('I32', ids) });
  return getRows(result, graph.input('ids of all rows', 'I32', shape));
}

/** Names of the inputs that a value depends on: the only ones with memory. */
function reachable(tensor: Tensor, found = new Set<string>()): Set<string> {
  if (tensor.op === 'input') found.add(tensor.name);
  for (const source of tensor.sources) reachable(source, found);
  return found;
}

/**
 * Power of the differences beyond `floor` over the power of the reference. Infinite unless NaN and infinities
 * stand at the same places.
 */
export function nmse(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 0): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    const [ours, theirs] = [actual[i]!, expected[i]!];
    if (Object.is(ours, theirs)) {
      if (Number.isFinite(theirs)) power += theirs * theirs;
      continue;
    }
    if (!Number.isFinite(ours) || !Number.isFinite(theirs)) return Number.POSITIVE_INFINITY;
    if (Math.abs(ours - theirs) > floor) error += (ours - theirs) ** 2;
    power += theirs * theirs;
  }
  return error === 0 ? 0 : error / power;
}

/** `x F32 [3, 5] inner, ids I32 [2]`. */
export function describeOperands(operands: Readonly<Record<string, Operand>>): string {
  return Object.entries(operands)
    .map(([name, { dtype, shape, layout }]) =>
      [name, dtype, formatShape(shape), layout === 'dense' ? undefined : layout].filter(Boolean).join(' '),
    )
    .join(', ');
}
