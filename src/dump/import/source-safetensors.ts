import { basename } from 'node:path';
import { readSafetensorsHeader } from '../../weights/safetensors.js';
import { plainSource, readsFrom, unusableValue } from './file-values.js';
import { FOREIGN_DTYPES, type ForeignSource, type ForeignValue, importError } from './foreign.js';

/**
 * Opens a safetensors file: keys are names, all rows are of one forward step. A key may end in `#0`, the
 * step, as `zayascope export` writes where a shape varies. Throws `BAD_CHECKPOINT` for a malformed file,
 * `BAD_ARGUMENT` for keys of several steps, `IO`.
 */
export async function openSafetensorsSource(path: string): Promise<ForeignSource> {
  const { tensors, metadata } = await readSafetensorsHeader(path);
  const values = tensors.map((tensor): ForeignValue => {
    const { name: key, shape, offsetBytes, sizeBytes } = tensor;
    const dtype = FOREIGN_DTYPES.find((known) => known === tensor.dtype);
    const step = /^(.+)#(\d+)(?:\.\d+)?$/.exec(key);
    if (step !== null && key !== `${step[1]}#0`)
      throw importError(
        'BAD_ARGUMENT',
        'one forward step of one sequence',
        `a key of another: ${key}; export fewer rows`,
        path,
      );
    const name = step?.[1] ?? key;
    const origin = `${key} in ${path}`;
    if (dtype === undefined) return unusableValue(name, `dtype ${tensor.dtype}`, origin);
    return { name, step: 0, dtype, shape, origin, ...readsFrom(path, offsetBytes, sizeBytes) };
  });
  const producer = metadata.size === 0 ? {} : { metadata: Object.fromEntries(metadata) };
  return plainSource('safetensors', basename(path), values, { producer });
}
