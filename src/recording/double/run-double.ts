/** A node in double precision, from the sources that it had. */

import type { Prepared, Written } from '../replay/replay-node.js';
import { packed } from '../replay/strided.js';
import { widenToFloat64 } from '../replay/widen.js';
import { ELEMENT_EVALUATORS } from './elements.js';
import { type Operand, Params } from './node-operands.js';
import { PRODUCT_EVALUATORS } from './products.js';

/** Ops that are computed so, by ggml's names (`docs/any-model.md`). */
export const DOUBLE_OPS: readonly string[] = [
  ...Object.keys(ELEMENT_EVALUATORS),
  ...Object.keys(PRODUCT_EVALUATORS),
].sort();

/**
 * @param before the memory of its result, before it ran: sources may lie there. @returns elements in ggml's
 * order; undefined for an op, or a kind of one, that is not computed so.
 */
export async function runDouble(
  { op, params }: { op: string; params: string },
  { roots, tensors, src }: Prepared,
  before: Uint8Array,
  written: Written,
): Promise<Float64Array | undefined> {
  const evaluate = ELEMENT_EVALUATORS[op] ?? PRODUCT_EVALUATORS[op];
  if (evaluate === undefined) return undefined;
  const operands: (Operand | undefined)[] = [];
  for (const place of src) {
    // A cast has itself as its second source.
    const source = place === null || place === 0 ? undefined : tensors[place]!;
    if (source === undefined) {
      operands.push(undefined);
      continue;
    }
    const memory = source.root === 0 ? before : roots[source.root]!;
    const data = await widenToFloat64(packed(memory, source), source.dtype, source.ne[0]!);
    operands.push({ data, ne: source.ne });
  }
  return evaluate({ src: operands, ne: written.ne, params: new Params(params) });
}
