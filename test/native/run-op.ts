import { type Dtype, ggmlType } from '../../src/dtype.js';
import { type NativeAddon, type NativeContext, native } from '../../src/native.js';

/** An operand: ggml sizes (fastest axis first) and values in memory order. */
export interface Operand {
  ne: number[];
  values: number[];
  dtype?: 'F32' | 'I32';
}

/** The bytes of values as F32 or I32. */
export function bytesOf(values: readonly number[], dtype: 'F32' | 'I32' = 'F32'): Uint8Array {
  return new Uint8Array((dtype === 'F32' ? new Float32Array(values) : new Int32Array(values)).buffer);
}

/** Sizes filled up to ggml's four. */
export function fourSizes(ne: readonly number[]): number[] {
  return [...ne, 1, 1, 1, 1].slice(0, 4);
}

/** A leaf of a context, F32 unless told. */
export function leaf(
  context: NativeContext,
  ne: readonly number[],
  name: string,
  dtype: Dtype = 'F32',
): number {
  return context.tensor(ggmlType(dtype), fourSizes(ne), name);
}

/**
 * Runs what `build` adds to a context and returns its last node's values, F32 unless `dtype` says I32. Inputs
 * are the leaves that `build` makes through its second argument.
 */
export async function evaluate(
  build: (context: NativeContext, input: (operand: Operand) => number, addon: NativeAddon) => number,
  dtype: 'F32' | 'I32' = 'F32',
): Promise<number[]> {
  const addon = native();
  const backend = new addon.Backend('CPU');
  const context = new addon.Context(64);
  backend.setThreads(2);
  const inputs: [number, Operand][] = [];
  const node = build(
    context,
    (operand) => {
      const tensor = leaf(context, operand.ne, `input${inputs.length}`, operand.dtype ?? 'F32');
      inputs.push([tensor, operand]);
      return tensor;
    },
    addon,
  );
  context.setOutput(node);
  const buffer = addon.Buffer.allocate(backend, context);
  const graph = new addon.Graph(context, [node]);
  const arena = new addon.Arena(backend);
  arena.plan([graph]);
  for (const [tensor, operand] of inputs) context.write(tensor, bytesOf(operand.values, operand.dtype), 0);
  await backend.compute([graph]);
  const bytes = Uint8Array.from(context.view(node));
  for (const object of [graph, arena, buffer, context, backend]) object.close();
  return [...(dtype === 'I32' ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer))];
}
