/** Values of any element type as numbers. */
import {
  blockElements,
  dtypeKind,
  isQuantised,
  type TapDtype,
  tapBlockBytes,
  tapType,
} from '../../dump/dtypes.js';
import { toFloat64 } from '../../dump/float.js';
import { native } from '../../native.js';
import { alignedElements } from '../record/aligned-elements.js';

/** @param columns elements of a row; quantised types lie in rows of whole blocks. */
export async function widenToFloat64(
  bytes: Uint8Array,
  type: TapDtype,
  columns: number,
): Promise<Float64Array | Float32Array> {
  if (bytes.byteLength === 0) return new Float64Array(0);
  if (!isQuantised(type)) return toFloat64(alignedElements(type, bytes), type);
  const out = new Float32Array((bytes.byteLength / tapBlockBytes(type)) * blockElements(type));
  await native().dequantize(bytes, tapType(type), columns, out);
  return out;
}

/** NaN, and plus infinity: minus infinity is what masks hold. 0 for types that have none. */
export function countNonFinite(bytes: Uint8Array, type: TapDtype): number {
  if (bytes.byteLength === 0 || dtypeKind(type) !== 'float') return 0;
  const values = alignedElements(type, bytes);
  let count = 0;
  if (type === 'F16' || type === 'BF16') {
    const infinity = type === 'F16' ? 0x7c00 : 0x7f80;
    for (const bits of values as Uint16Array)
      if ((bits & infinity) === infinity && bits !== (infinity | 0x8000)) count++;
  } else
    for (const value of values as Float32Array | Float64Array)
      if (!Number.isFinite(value) && value !== Number.NEGATIVE_INFINITY) count++;
  return count;
}

/** Energy NMSE; places where both are the same infinity or NaN count nothing, any other is infinite. */
export function nmse(reference: ArrayLike<number>, tested: ArrayLike<number>): number {
  let error = 0;
  let energy = 0;
  for (let k = 0; k < reference.length; k++) {
    const [a, b] = [reference[k]!, tested[k]!];
    if (Object.is(a, b)) {
      if (Number.isFinite(a)) energy += a * a;
      continue;
    }
    if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
    error += (a - b) ** 2;
    energy += a * a;
  }
  return error === 0 ? 0 : error / energy;
}
