/** Mixed sequences where two dumps are all there is. */
import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';
import { formatError } from '../../../text-table.js';
import { errorOf } from '../compute.js';
import { joinedValues } from './batch-op.js';
import { mixedError } from './mixed.js';
import { allMixings, LEAVES } from './ways.js';

/**
 * Without a model: the way in which the reference's value of all sequences, mixed, is the tested one. null
 * where there is none that leaves `limit` or a thousandth of the error.
 */
export async function mixedAlone(
  reference: DumpView,
  tested: DumpView,
  tap: string,
  limit: number,
): Promise<string | null> {
  const lengths = tested.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  const theirs = reference.manifest.sequences.map(({ tokens }) => tokens?.length ?? 0);
  const info = reference.tap(tap);
  if (
    lengths.length < 2 ||
    theirs.join() !== lengths.join() ||
    info.scope !== 'token' ||
    info.dtype === 'I32' ||
    tested.manifest.steps > 1
  )
    return null;
  const all = async (dump: DumpView): Promise<Float32Array> => {
    const parts: Float32Array[] = [];
    for (const sequence of lengths.keys()) {
      const { data, dtype } = await dump.read(tap, { sequence });
      parts.push(toFloat32(data, dtype));
    }
    return joinedValues(parts);
  };
  const [own, given] = [await all(reference), await all(tested)];
  if (own.length !== given.length) return null;
  const before = errorOf(own, given, false);
  const most = Math.min(limit, LEAVES * before);
  for (const mixing of allMixings(own, [], lengths)) {
    const after = mixedError(mixing, own, undefined, given, most);
    if (after <= most)
      return `The sequences of the batch are mixed: ${mixing.says}. NMSE ${formatError(before)} as given, ${formatError(after)} with the reference's value read so. A batch of one sequence would not show it.`;
  }
  return null;
}
