import { unmet } from '../errors.js';
import type { ModelSource } from '../models/layout/source.js';
import { tensorValues } from './tensor-values.js';

/** A weight in memory. */
export interface WeightValues {
  /** Slowest axis first, as in the transformers layout. */
  shape: readonly number[];
  /** The dtype it is stored in. */
  dtype: string;
  /** Row-major, widened to F32: exact for F32, F16 and BF16, dequantised for others. */
  data: Float32Array;
}

/**
 * Reads one weight of a model in any layout, whole, by its name in the transformers layout, e.g.
 * `model.layers.3.self_attn.o_proj.weight`.
 *
 * @throws `MISSING_TENSOR` for a name that the model lacks; `DTYPE_UNSUPPORTED`; `IO`; `BACKEND` where a
 * quantised dtype needs the addon and it is missing.
 */
export async function readWeight(source: ModelSource, name: string): Promise<WeightValues> {
  const tensor = source.checkpoint.tensors.get(name);
  if (tensor === undefined)
    throw unmet('MISSING_TENSOR', 'readWeight', 'a tensor of the model', name, {
      where: source.path,
      tensor: name,
    });
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  return { shape: tensor.shape, dtype: tensor.dtype, data: await tensorValues(tensor, 0, elements) };
}
