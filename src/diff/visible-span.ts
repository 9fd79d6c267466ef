/**
 * Attention weights of calls that were cut differently: one call on all tokens has a column for each, a chunk
 * only for the positions so far.
 */
import { storedItems } from '../dump/dtypes.js';
import { copyElements, emptyLike } from '../dump/float.js';
import type { TensorBatch } from '../dump/reader.js';

/**
 * Rows whose last axis is the visible positions (S), all as long as the longest: positions that a call does
 * not see have weight 0. Other values, and rows that differ elsewhere too, are as they are.
 */
export function withSameSpan(parts: readonly TensorBatch[]): TensorBatch[] {
  const isSpan = parts.every(({ tap }) => tap.scope === 'token' && tap.axes.at(-1) === 'S');
  const longest = Math.max(...parts.map(({ shape }) => shape.at(-1) ?? 0));
  return isSpan ? parts.map((part) => spanned(part, longest)) : [...parts];
}

function spanned(part: TensorBatch, columns: number): TensorBatch {
  const width = part.shape.at(-1)!;
  if (width === columns) return part;
  const [own, wide] = [storedItems(part.dtype, width), storedItems(part.dtype, columns)];
  const lines = part.data.length / own;
  const data = emptyLike(part.data, lines * wide);
  for (let line = 0; line < lines; line++)
    copyElements(data, part.data.subarray(line * own, (line + 1) * own), line * wide);
  return { ...part, shape: [...part.shape.slice(0, -1), columns], data };
}
