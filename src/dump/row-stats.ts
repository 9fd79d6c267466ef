import { ZayascopeError } from '../errors.js';
import { type TapElements, toFloat32 } from './float.js';
import type { TapDtype } from './format.js';

/**
 * Statistics of each row, for producers without the native addon (which has the same function).
 *
 * @param columns elements per row; `BAD_ARGUMENT` unless it divides the number of values.
 * @returns 7 numbers a row: min, max, mean, rms, largest magnitude, all over the finite elements and NaN where a row has none; count of NaN;
 * count of infinities. Accumulated in float64 over the values as stored.
 */
export function rowStats(values: TapElements, dtype: TapDtype, columns: number): Float64Array {
  if (!(columns > 0) || values.length % columns !== 0)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `rowStats: expected whole rows of ${columns} elements, got ${values.length} elements`,
      { op: 'rowStats' },
    );
  const numbers = dtype === 'I32' ? values : toFloat32(values, dtype);
  const rows = values.length / columns;
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
    // Squares of F32 values cannot overflow a double: anything but a number here means NaN or infinity among them, and counting anew.
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
    out.set(
      none
        ? [Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, nan, inf]
        : [min, max, sum / finite, Math.sqrt(squares / finite), Math.max(-min, max), nan, inf],
      7 * row,
    );
  }
  return out;
}
