import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { unmet } from '../errors.js';
import { fileKind } from '../regular-file.js';
import { type GgufTensorSpec, ggufTensorBytes } from './gguf-write.js';

/**
 * Checks before any work that a GGUF file can be written: its name ends in `.gguf`, is free (or `overwrite`
 * is set), and the disk has room for the tensors.
 * @throws `BAD_ARGUMENT`, `IO`, `NO_SPACE` in the name of `op`.
 */
export async function checkGgufTarget(
  op: string,
  out: string,
  overwrite: boolean,
  tensors: readonly GgufTensorSpec[],
): Promise<void> {
  if (!out.toLowerCase().endsWith('.gguf'))
    throw unmet('BAD_ARGUMENT', op, 'a file name that ends in .gguf', out, { tensor: out });
  const found = await stat(out).catch(() => undefined);
  if (found !== undefined && !(overwrite && found.isFile()))
    throw unmet(
      'IO',
      op,
      `a free name${overwrite ? ' or a file to replace' : ', or --overwrite'}`,
      found.isFile() ? 'an existing file' : fileKind(found),
      { where: out, tensor: out },
    );
  const needed = tensors.reduce((sum, tensor) => sum + ggufTensorBytes(tensor), 0);
  // A folder that does not exist is reported when the file is made.
  const disk = await statfs(dirname(resolve(out))).catch(() => undefined);
  if (disk !== undefined && disk.bavail * disk.bsize < needed)
    throw unmet('NO_SPACE', op, `${needed} bytes of free space`, disk.bavail * disk.bsize, {
      where: out,
      tensor: out,
    });
}
