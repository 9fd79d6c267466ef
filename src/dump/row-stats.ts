import { badArgument } from '../errors.js';
import { type TapElements, toFloat64 } from './float.js';
import type { TapDtype } from './format.js';

/**
 * Statistics of each row, for producers without the native addon (which has the same function).
 *
 * @param columns elements per row; `BAD_ARGUMENT` unless it divides the number of values.
 * @returns 7 numbers a row: min, max, mean, rms, largest magnitude, all over the finite elements and NaN
 * where a row has none; count of NaN; count of infinities. Accumulated in float64 over the values as stored
 * (I64 rounded to doubles; quantised types decoded, which throws `DTYPE_UNSUPPORTED` for those that only ggml
 * decodes).
 */
export function rowStats(values: TapElements, dtype: TapDtype, columns: number): Float64Array {
  const numbers = dtype === 'F32' ? (values as Float32Array) : toFloat64(values, dtype);
  if (!(columns > 0) || numbers.length % columns !== 0)
    throw badArgument('rowStats', `whole rows of ${columns} elements`, `${numbers.length} elements`);
  const rows = numbers.length / columns;
  const out = new Float64Array(7 * rows);
  for (let row = 0; row < rows; row++) {
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    let sum = 0;
    let squares = 0;
    let nan = 0;
    let inf = 0;
    const end = (row + 1) * columns;
    for (let k = row * columns; k < end; k++) {
      const value = numbers[k]!;
      if (value < min) min = value;
      if (value > max) max = value;
      sum += value;
      squares += value * value;
    }
    // Squares of F32 values cannot overflow a double: anything but a number here means NaN or infinity among
    // them (or F64 values beyond 1e154), and counting anew.
    if (squares - squares !== 0) {
      [min, max, sum, squares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
      for (let k = row * columns; k < end; k++) {
        const value = numbers[k]!;
        if (Number.isNaN(value)) nan++;
        else if (value - value !== 0) inf++;
        else {
          if (value < min) min = value;
          if (value > max) max = value;
          sum += value;
          squares += value * value;
        }
      }
    }
    const finite = columns - nan - inf;
    const none = finite === 0;
    const largest = Math.max(-min, max);
    const [mean, rms] =
      squares < Number.POSITIVE_INFINITY
        ? [sum / finite, Math.sqrt(squares / finite)]
        : scaledMoments(numbers.subarray(row * columns, end), largest, finite);
    out.set(
      none
        ? [Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, nan, inf]
        : [min, max, mean!, rms!, largest, nan, inf],
      7 * row,
    );
  }
  return out;
}

/** Mean and RMS of finite F64 values whose squares overflow. */
function scaledMoments(
  values: Float32Array | Float64Array,
  largest: number,
  finite: number,
): [number, number] {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    if (value - value !== 0) continue;
    sum += value / largest;
    squares += (value / largest) ** 2;
  }
  return [(sum / finite) * largest, Math.sqrt(squares / finite) * largest];
}
