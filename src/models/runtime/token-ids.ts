import { badArgument } from '../../errors.js';

/**
 * Throws `BAD_ARGUMENT`, naming the first one at fault and its position, unless all ids are integers from 0
 * to `vocabulary − 1`: ggml aborts on others.
 */
export function checkTokenIds(op: string, ids: readonly number[], vocabulary: number): void {
  const at = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (at >= 0) throw badArgument(op, `token ids from 0 to ${vocabulary - 1}`, `${ids[at]} at position ${at}`);
}
