/**
 * Values with an axis of visible positions, S: a dump holds those that a call sees, a graph with a cache
 * reads a few more, which are masked.
 */
import type { TensorBatch } from '../../dump/reader.js';
import { unmet, type ZayascopeError } from '../../errors.js';

/**
 * A dump's value as a graph takes it: along the axis S filled up with zeros, which masked positions have as
 * weights and as keys. Other values are as they are.
 *
 * @param elements of the graph's value. @throws `SHAPE_MISMATCH` where it has another number of elements all
 * the same.
 */
export function widened(batch: TensorBatch, elements: number): TensorBatch['data'] {
  const { tap, data, shape } = batch;
  if (data.length === elements) return data;
  const Elements = data.constructor as Float32ArrayConstructor;
  if (tap.axes[0] === 'S' && data.length < elements) {
    const filled = new Elements(elements);
    filled.set(data as Float32Array);
    return filled;
  }
  const seen = shape.at(-1)!;
  const span = (elements * seen) / data.length;
  if (tap.axes.at(-1) !== 'S' || !Number.isInteger(span) || span < seen)
    throw misfit(tap.name, elements, shape);
  const filled = new Elements(elements);
  for (let line = 0; line < data.length / seen; line++)
    filled.set((data as Float32Array).subarray(line * seen, (line + 1) * seen), line * span);
  return filled;
}

/**
 * A graph's value cut to what the dump holds of it. `shape` is the graph's; `visible` counts the positions
 * that the call sees.
 * @throws `SHAPE_MISMATCH` where the dump's value does not fit.
 */
export function narrowed<T extends Float32Array | Int32Array>(
  data: T,
  shape: readonly number[],
  dumped: TensorBatch,
  visible: number,
): T {
  if (data.length === dumped.data.length) return data;
  const { axes, name } = dumped.tap;
  if (axes[0] === 'S') {
    // A sliding window's cache holds the last of the visible positions.
    const row = dumped.data.length / dumped.shape[1]!;
    const first = (visible - dumped.shape[1]!) * row;
    if (first >= 0 && visible * row <= data.length) return data.subarray(first, visible * row) as T;
  }
  const span = shape.at(-1)!;
  if (axes.at(-1) !== 'S' || dumped.shape.at(-1) !== visible || span < visible)
    throw misfit(name, data.length, dumped.shape);
  const cut = new (data.constructor as Float32ArrayConstructor)(dumped.data.length) as T;
  for (let line = 0; line < data.length / span; line++)
    cut.set(data.subarray(line * span, line * span + visible), line * visible);
  return cut;
}

function misfit(name: string, elements: number, shape: readonly number[]): ZayascopeError {
  return unmet(
    'SHAPE_MISMATCH',
    'replay',
    `the model's ${elements} elements in the dump`,
    `[${shape.join(', ')}]`,
    { where: name, tensor: name, shapes: [shape] },
  );
}
