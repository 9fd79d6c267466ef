import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ZayascopeError } from '../errors.js';
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
    throw new ZayascopeError('BAD_ARGUMENT', `${op}: expected a file name that ends in .gguf, got ${out}`, {
      op,
      tensor: out,
    });
  const found = await stat(out).catch(() => undefined);
  if (found !== undefined && !(overwrite && found.isFile()))
    throw new ZayascopeError(
      'IO',
      `${op}: expected a free name${overwrite ? ' or a file to replace' : ', or --overwrite'}, got ${found.isFile() ? 'an existing file' : fileKind(found)} (${out})`,
      { op, tensor: out },
    );
  const needed = tensors.reduce((sum, tensor) => sum + ggufTensorBytes(tensor), 0);
  // A folder that does not exist is reported when the file is made.
  const disk = await statfs(dirname(resolve(out))).catch(() => undefined);
  if (disk !== undefined && disk.bavail * disk.bsize < needed)
    throw new ZayascopeError(
      'NO_SPACE',
      `${op}: expected ${needed} bytes of free space, got ${disk.bavail * disk.bsize} (${out})`,
      { op, tensor: out },
    );
}
