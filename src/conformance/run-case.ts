import type { Backend } from '../graph/backend.js';
import { compileGraphs, needed } from '../graph/compile.js';
import { unsupportedOf } from '../graph/device-support.js';
import { evaluateExactly } from '../graph/float64.js';
import type { Tensor } from '../graph/tensor.js';
import { type Measures, measure } from './measure.js';
import { decode, encode, type Memory, operandMemory } from './operand.js';
import { type CaseGraph, type ConformanceCase, caseGraph, SPECIAL_CASES } from './template.js';
import { halfSumNmse, largestNmse } from './tolerances.js';

/** What became of a case on a device. */
export type CaseOutcome =
  | ({
      verdict: 'pass' | 'fail';
      /** Largest NMSE that passes. */
      tolerance: number;
      /** What is known about a failure. */
      finding?: string;
    } & Measures)
  | { verdict: 'unsupported'; reason: string }
  | { verdict: 'crashed'; reason: string };

/**
 * Runs the graph of a case: the elements of its result, as the device gives them. Throws as `compileGraphs`
 * does.
 */
export type ComputeCase = (
  backend: Backend,
  built: CaseGraph,
  memories: Readonly<Record<string, Memory>>,
) => Promise<Float64Array>;

/** Runs a case on a device and judges it. */
export async function runCase(
  backend: Backend,
  test: ConformanceCase,
  compute: ComputeCase,
): Promise<CaseOutcome> {
  const built = caseGraph(test);
  const memories: Record<string, Memory> = {};
  for (const [index, [name, operand]] of Object.entries(test.operands).entries())
    memories[name] = await operandMemory(operand, 1000 * test.seed + index);
  let actual: Float64Array;
  try {
    actual = await compute(backend, built, memories);
  } catch (error) {
    const [first] = unsupportedOf(error) ?? [];
    if (first === undefined) throw error;
    return { verdict: 'unsupported', reason: first.reason };
  }
  const node = built.graph.tensors.findLast(({ op }) => op === test.op)!;
  const exact = await evaluate(built, memories);
  const measures = measure(actual, exact, built.result.dtype);
  const tolerance = largestNmse(node);
  // Only the cases made of NaN and infinities are about them; in others they would hide what they touch.
  const hidden = test.from === SPECIAL_CASES ? 0 : measures.special;
  if (measures.nmse <= tolerance && hidden === 0) return { verdict: 'pass', tolerance, ...measures };
  if (measures.nmse <= tolerance)
    return {
      verdict: 'fail',
      tolerance,
      ...measures,
      finding: `${hidden} elements are NaN or infinite on both sides, where nothing is judged`,
    };
  const finding = await explain(test, built, memories, actual, measures);
  return { verdict: 'fail', tolerance, ...measures, finding };
}

/** The device's own computation. */
export const computeOnDevice: ComputeCase = async (backend, { graph, read }, memories) => {
  using compiled = compileGraphs(backend, [graph]);
  const [only] = compiled.graphs;
  for (const { name } of only!.inputs) only!.setInput(name, memories[name]!.bytes);
  await backend.native.compute([only!.native]);
  return decode(read.dtype, only!.outputs()[0]!.bytes, read.shape.at(-1)!);
};

function evaluate({ graph }: CaseGraph, memories: Readonly<Record<string, Memory>>): Promise<Float64Array> {
  return evaluateExactly(needed(graph), async ({ name }) => memories[name]!.elements);
}

/** An error that becomes this many times smaller once the reference does the same is explained by it. */
const EXPLAINED = 100;

/** Tries the known ways in which devices depart from F32 products. */
async function explain(
  { op }: ConformanceCase,
  built: CaseGraph,
  memories: Readonly<Record<string, Memory>>,
  actual: Float64Array,
  { nmse, nonFinite }: Measures,
): Promise<string | undefined> {
  if (nonFinite > 0) return `${nonFinite} elements are NaN or infinite on one side only`;
  if (op !== 'mulMat' && op !== 'mulMatId') return undefined;
  const inputs = built.graph.tensors.filter((tensor) => tensor.op === 'input' && tensor.dtype === 'F32');
  const halved: Record<string, Memory> = { ...memories };
  for (const input of inputs) halved[input.name] = await roundedToHalf(input, memories[input.name]!);
  const rounded = measure(actual, await evaluate(built, halved), built.result.dtype);
  if (rounded.nmse * EXPLAINED <= nmse) return 'rounds operands to F16';
  const node = built.graph.tensors.findLast((tensor) => tensor.op === op)!;
  const isHalf = node.sources[0]!.dtype === 'F16';
  return isHalf && nmse <= halfSumNmse(node) ? 'as far off as sums in F16 are' : undefined;
}

async function roundedToHalf({ shape }: Tensor, { elements }: Memory): Promise<Memory> {
  return encode('F16', Float32Array.from(elements), shape.at(-1)!);
}
