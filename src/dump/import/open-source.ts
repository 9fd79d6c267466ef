import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError } from '../../weights/file-access.js';
import { type ForeignSource, importError } from './foreign.js';
import { LLAMACPP_INDEX, openLlamacppSource } from './source-llamacpp.js';
import { type NumpyOptions, openNpyFolder, openNpz } from './source-numpy.js';
import { openRawLogits } from './source-raw.js';
import { openSafetensorsSource } from './source-safetensors.js';

/** How a source is read. */
export interface OpenSourceOptions extends NumpyOptions {
  /** Logits of one token in a raw file that holds several tokens'. Default: the file is one token's. */
  vocabulary?: number;
}

/**
 * Opens values of another program, by what the path is: a `.safetensors`, `.npz` or `.bin` file, a folder that a llama.cpp port wrote
 * (`index.jsonl`), or a folder of `.npy` files. Throws `BAD_ARGUMENT` for anything else, and what the readers of each throw.
 */
export async function openForeignSource(
  path: string,
  options: OpenSourceOptions = {},
): Promise<ForeignSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError('importDump', 'a file or folder', path, cause);
  });
  if (found.isDirectory()) {
    const isLlamacpp = await stat(join(path, LLAMACPP_INDEX)).then(
      () => true,
      () => false,
    );
    return isLlamacpp ? openLlamacppSource(path) : openNpyFolder(path, options);
  }
  if (path.endsWith('.safetensors')) return openSafetensorsSource(path);
  if (path.endsWith('.npz')) return openNpz(path, options);
  if (path.endsWith('.bin')) return openRawLogits(path, options.vocabulary);
  throw importError('BAD_ARGUMENT', 'a .safetensors, .npz or .bin file, or a folder', 'another file', path);
}
