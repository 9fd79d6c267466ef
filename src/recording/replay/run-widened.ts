/** A node without what it rounds itself: with its operands in F32. */
import { dtypeKind, type TapDtype } from '../../dump/dtypes.js';
import { elementCount } from '../../graph/shape.js';
import { type Placed, type Prepared, placed, type Written } from './replay-node.js';
import { denseStrides, packed } from './strided.js';
import { widenToFloat64 } from './widen.js';

/** Where the mask stays as it is: ggml takes no other. */
const KEPT_SOURCE: Readonly<Record<string, number>> = { FLASH_ATTN_EXT: 3 };

/** What a node gives with its operands in F32, and which types they had. */
export interface Widened {
  values: Float64Array | Float32Array;
  types: string[];
}

/**
 * Runs a node with every low-precision operand in F32, and its result too where it is stored in fewer bits.
 * @param before the memory of its result, before it ran. @returns undefined where nothing is in low
 * precision.
 */
export async function runWidened(
  op: string,
  prepared: Prepared,
  before: Uint8Array,
  written: Written,
  run: (prepared: Prepared) => void,
): Promise<Widened | undefined> {
  const [target] = prepared.tensors as [Placed];
  const types: string[] = [];
  const roots: Uint8Array[] = [before.slice(), ...prepared.roots.slice(1)];
  const tensors = [...prepared.tensors];
  const targetIsLow = isLow(target.dtype);
  for (const [k, place] of prepared.src.entries()) {
    if (place === null || KEPT_SOURCE[op] === k) continue;
    const source = prepared.tensors[place]!;
    // The destination of a copy is no operand.
    if (!isLow(source.dtype) || (source.root === 0 && targetIsLow)) continue;
    tensors[place] = await wide(source, source.root === 0 ? before : prepared.roots[source.root]!, roots);
    types.push(source.dtype);
  }
  if (targetIsLow) {
    const result = await wide(target, undefined, roots);
    tensors[0] = result;
    // Sources in the same memory (the cache that a row is written into) go with it.
    for (const place of prepared.src) {
      if (place === null || place === 0 || prepared.tensors[place]!.root !== 0) continue;
      const { ne } = prepared.tensors[place]!;
      tensors[place] = { ...result, ne, nb: denseStrides(ne, F32_BYTES) };
    }
    types.push(target.dtype);
  }
  if (types.length === 0) return undefined;
  run({ roots, tensors, src: prepared.src });
  const [result] = tensors as [Placed];
  const values = await widenToFloat64(written.read(roots[result.root]!, result), result.dtype, written.ne[0]);
  return { values, types: [...new Set(types)] };
}

const F32_BYTES = 4;

function isLow(dtype: TapDtype): boolean {
  return dtype === 'F16' || dtype === 'BF16' || dtypeKind(dtype) === 'quantised';
}

/** A tensor's values in F32, without gaps, in memory of their own; without `memory`, zeros. */
async function wide(tensor: Placed, memory: Uint8Array | undefined, roots: Uint8Array[]): Promise<Placed> {
  const { ne, dtype } = tensor;
  const out = new Float32Array(elementCount(ne));
  if (memory !== undefined) out.set(await widenToFloat64(packed(memory, tensor), dtype, ne[0]!));
  roots.push(new Uint8Array(out.buffer));
  return placed({ dtype: 'F32', ne, nb: denseStrides(ne, F32_BYTES) }, roots.length - 1, 0);
}
