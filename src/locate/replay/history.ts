/** States and caches of a sequence as a dump holds them, put where the next call reads them. */
import { ggmlType } from '../../dtype.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { writeResident } from '../../graph/resident.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelCache } from '../../models/runtime/cache.js';
import { cacheTap } from '../../models/runtime/cache-sites.js';
import { native } from '../../native.js';
import type { DumpCall } from './calls.js';

/**
 * Sets a cache to what the dump says it was after a call. States that the dump lacks stay as the replay has
 * left them: made of the dump's own keys, values and convolution inputs, for those take the place of computed
 * ones there.
 *
 * @param after the call before the one that follows. @param wants which states (by tap name) to take from the
 * dump.
 */
export async function loadHistory(
  cache: ModelCache,
  dump: Pick<DumpView, 'read' | 'taps'>,
  after: DumpCall,
  wants: (name: string) => boolean,
): Promise<void> {
  const held = new Set(dump.taps.map(({ name }) => name));
  const visible = after.past + after.tokens.length;
  const { config } = cache;
  const histories = architectureOf(config).histories(config);
  for (const [layer, states] of cache.states.entries()) {
    const { k_cache, v_cache } = cache.layers[layer]!;
    const read = async (name: string): Promise<Float32Array | undefined> => {
      if (!held.has(name) || !wants(name)) return undefined;
      const { data, dtype } = await dump.read(name, { sequence: after.sequence, step: after.step });
      return toFloat32(data, dtype);
    };
    for (const [name, state] of Object.entries(states)) {
      const { tap, isTransposed } = histories[name]!;
      const values = await read(`layers.${layer}${tap}`);
      if (values !== undefined)
        writeResident(state, isTransposed ? transposed(values, state.shape[1]!) : values);
    }
    const width = k_cache.shape[2]!;
    const keys = await read(cacheTap(config, layer, 'k_cache'));
    if (keys !== undefined) await writeCache(k_cache, atEnd(keys, visible * width, cache.capacity * width));
    const values = await read(cacheTap(config, layer, 'v_cache'));
    if (values !== undefined)
      await writeCache(v_cache, transposed(atEnd(values, visible * width, cache.capacity * width), width));
  }
}

/** [n, m] as [m, n], where the result has `m` rows. */
function transposed(values: Float32Array, m: number): Float32Array {
  const n = values.length / m;
  const result = new Float32Array(values.length);
  for (let row = 0; row < n; row++)
    for (let column = 0; column < m; column++) result[column * n + row] = values[row * m + column]!;
  return result;
}

/**
 * Values that end at element `end` of `size`: of a sliding window the dump holds the last positions only, and
 * nothing reads those before.
 */
function atEnd(values: Float32Array, end: number, size: number): Float32Array {
  const result = new Float32Array(size);
  result.set(values, end - values.length);
  return result;
}

async function writeCache(tensor: ResidentTensor, values: Float32Array): Promise<void> {
  const { dtype } = tensor;
  writeResident(
    tensor,
    dtype === 'F32' ? values : await native().quantize(values, ggmlType(dtype), values.length, null),
  );
}
