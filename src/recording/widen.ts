/** Values of any element type as numbers. */
import { type Dtype, ggmlType } from '../dtype.js';
import { blockElements, isQuantised, type TapDtype, tapBlockBytes } from '../dump/dtypes.js';
import { elementsOf, toFloat64 } from '../dump/float.js';
import { native } from '../native.js';

/** @param columns elements of a row; quantised types lie in rows of whole blocks. */
export async function widenToFloat64(
  bytes: Uint8Array,
  type: TapDtype,
  columns: number,
): Promise<Float64Array | Float32Array> {
  if (bytes.byteLength === 0) return new Float64Array(0);
  if (!isQuantised(type)) {
    const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
    return toFloat64(elementsOf(type, aligned), type);
  }
  const out = new Float32Array((bytes.byteLength / tapBlockBytes(type)) * blockElements(type));
  await native().dequantize(bytes, ggmlType(type as Dtype), columns, out);
  return out;
}
