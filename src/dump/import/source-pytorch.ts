import { basename } from 'node:path';
import type { StoredTensor } from '../../weights/checkpoint.js';
import { readPytorchFile } from '../../weights/formats/pytorch.js';
import { readTensor } from '../../weights/tensor-data.js';
import { fromStoredAxes, plainSource, readsFrom, unusableValue } from './file-values.js';
import { FOREIGN_DTYPES, type ForeignSource, type ForeignValue } from './foreign.js';

const OP = 'importDump';

/**
 * Opens a file that `torch.save` wrote (a zip archive, PyTorch 1.6 and later): keys are names, those of
 * nested dictionaries joined with dots; a lone tensor goes by the file's name. All values are of one forward
 * step. No code of the file is run. Throws `BAD_DUMP` for a malformed file and for one that holds more than
 * tensors, `IO`.
 */
export async function openPytorchSource(path: string): Promise<ForeignSource> {
  const { tensors, others } = await readPytorchFile(OP, 'BAD_DUMP', path);
  const values = tensors.map((tensor): ForeignValue => {
    const { name: key, dtype, shape, offsetBytes, sizeBytes, storedAxes } = tensor;
    const known = FOREIGN_DTYPES.find((each) => each === dtype);
    const name = key === '' ? basename(path).replace(/\.(pt|pth|bin)$/, '') : key;
    const origin = `${key || 'the tensor'} in ${path}`;
    if (known === undefined) return unusableValue(name, `dtype ${dtype}`, origin);
    return {
      name,
      step: 0,
      dtype: known,
      shape,
      ...(storedAxes === undefined ? {} : fromStoredAxes(shape, storedAxes)),
      origin,
      ...(tensor.parts.length === 1 ? readsFrom(path, offsetBytes, sizeBytes) : readsParts(tensor)),
    };
  });
  const notes =
    others.length === 0
      ? []
      : [
          `Not tensors, left out: ${others.slice(0, 8).join(', ')}${others.length > 8 ? ` and ${others.length - 8} more` : ''}.`,
        ];
  return plainSource('pytorch', basename(path), values, { notes });
}

/** A view whose elements lie apart. */
function readsParts(tensor: StoredTensor) {
  return {
    read: () => readTensor(tensor),
    readRange: (begin: number, end: number) => readTensor(tensor, begin, end),
  };
}
