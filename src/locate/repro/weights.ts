import { blockSize, type Dtype, ggmlType, sizeBytes } from '../../dtype.js';
import { elementCount } from '../../graph/shape.js';
import { native } from '../../native.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import { readTensor } from '../../weights/tensor-data.js';

/** A weight widened to F32: exact for F32, F16 and BF16. Throws `IO`. */
export async function weightValues(info: TensorInfo): Promise<Float32Array> {
  const bytes = await readTensor(info);
  const elements = elementCount(info.shape);
  if (info.dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, elements);
  const values = new Float32Array(elements);
  await native().dequantize(bytes, ggmlType(info.dtype), elements, values);
  return values;
}

/**
 * A weight's bytes in a dtype: as they are where it is stored so, else through ggml's quantiser, row by row.
 * Throws `IO`, `SHAPE_MISMATCH` for rows that are no whole blocks.
 */
export async function weightBytes(info: TensorInfo, dtype: Dtype): Promise<Uint8Array> {
  if (info.dtype === dtype) return readTensor(info);
  const values = await weightValues(info);
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const columns = info.shape.at(-1)!;
  sizeBytes(dtype, columns);
  return native().quantize(values, ggmlType(dtype), blockSize(dtype) === 1 ? values.length : columns, null);
}
