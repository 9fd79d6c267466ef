import type { TensorBatch } from '../dump/reader.js';

/** The first `columns` entries of the last axis of every row, in memory of their own. */
export function leadingColumns(batch: TensorBatch, columns: number): TensorBatch {
  const width = batch.shape.at(-1)!;
  if (width === columns) return batch;
  const rows = batch.data.length / width;
  const data = new (batch.data.constructor as Float32ArrayConstructor)(rows * columns);
  for (let row = 0; row < rows; row++)
    data.set(batch.data.subarray(row * width, row * width + columns), row * columns);
  return { ...batch, shape: [...batch.shape.slice(0, -1), columns], data };
}
