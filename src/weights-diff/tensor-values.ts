import { blockBytes, blockSize, type Dtype, ggmlType, isQuantized } from '../dtype.js';
import { widen } from '../dump/widen.js';
import { unmet } from '../errors.js';
import type { TensorInfo } from '../weights/checkpoint.js';
import { readTensor } from '../weights/tensor-data.js';

/** Elements read at a time: a multiple of every block size, 4 MiB of F32. */
export const CHUNK_ELEMENTS = 1 << 20;

/** True for dtypes that {@link tensorValues} reads. */
export function isFloatDtype(dtype: Dtype): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || isQuantized(dtype);
}

/**
 * Elements [begin, end) of a tensor as F32: exact for F32, F16 and BF16, quantised types through ggml (which
 * needs the native addon). `begin` must be a multiple of {@link CHUNK_ELEMENTS}. A tensor whose axes are
 * stored in another order can only be read whole.
 *
 * @throws `DTYPE_UNSUPPORTED` for other dtypes; `IO`; `BACKEND` where the addon is missing.
 */
export async function tensorValues(tensor: TensorInfo, begin: number, end: number): Promise<Float32Array> {
  const { dtype, name } = tensor;
  if (!isFloatDtype(dtype))
    throw unmet('DTYPE_UNSUPPORTED', 'tensorValues', 'floats', dtype, {
      where: name,
      tensor: name,
      dtypes: [dtype],
    });
  const perElement = blockBytes(dtype) / blockSize(dtype);
  const bytes = await readTensor(tensor, begin * perElement, end * perElement);
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, end - begin);
  const values = new Float32Array(end - begin);
  if (dtype === 'F16' || dtype === 'BF16')
    return widen(new Uint16Array(bytes.buffer, bytes.byteOffset, end - begin), dtype, values);
  const { native } = await import('../native.js');
  await native().dequantize(bytes, ggmlType(dtype), end - begin, values);
  return values;
}
