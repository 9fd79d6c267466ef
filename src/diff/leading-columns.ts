import { storedItems } from '../dump/dtypes.js';
import { copyElements, emptyLike } from '../dump/float.js';
import type { TensorBatch } from '../dump/reader.js';

/** The first `columns` entries of the last axis of every row, in memory of their own. */
export function leadingColumns(batch: TensorBatch, columns: number): TensorBatch {
  const width = batch.shape.at(-1)!;
  if (width === columns) return batch;
  const [all, part] = [storedItems(batch.dtype, width), storedItems(batch.dtype, columns)];
  const rows = batch.data.length / all;
  const data = emptyLike(batch.data, rows * part);
  for (let row = 0; row < rows; row++)
    copyElements(data, batch.data.subarray(row * all, row * all + part), row * part);
  return { ...batch, shape: [...batch.shape.slice(0, -1), columns], data };
}

/** The first `rows` rows, in the same memory. */
export function leadingRows(batch: TensorBatch, rows: number): TensorBatch {
  const [all, ...shape] = batch.shape as [number, ...number[]];
  if (all === rows) return batch;
  return {
    ...batch,
    shape: [rows, ...shape],
    data: batch.data.subarray(0, (batch.data.length / all) * rows),
    sequence: batch.sequence.subarray(0, rows),
    position: batch.position.subarray(0, rows),
    tokenId: batch.tokenId.subarray(0, rows),
    step: batch.step.subarray(0, rows),
  };
}
