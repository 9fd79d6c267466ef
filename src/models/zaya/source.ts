import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZayascopeError } from '../../errors.js';
import { type GgufValue, native } from '../../native.js';
import { type Checkpoint, openCheckpoint } from '../../weights/checkpoint.js';
import { fileSizeBytes, ioError } from '../../weights/file-access.js';
import { readZayaConfig, type ZayaConfig } from './config.js';
import { openZayaGguf } from './gguf.js';
import type { GgufDialect } from './gguf-names.js';
import { asNative, isLegacyCheckpoint } from './legacy.js';

const OP = 'openZayaSource';

/** How a model is stored: see `weights.ts`, `legacy.ts` and, for both GGUF dialects, `gguf-names.ts`. */
export type ZayaLayout = 'transformers' | 'legacy' | `gguf ${GgufDialect}`;

/** A model on disk, whatever its layout, seen through the transformers layout. Only headers have been read. */
export interface ZayaSource {
  /** The model folder, or the GGUF file. */
  path: string;
  layout: ZayaLayout;
  /** From config.json; of a GGUF file reconstructed from its metadata. */
  config: ZayaConfig;
  /** Tensors under the transformers layout's names. */
  checkpoint: Checkpoint;
  /** Keys of a GGUF file (its tokenizer among them); undefined for a folder with config.json. */
  metadata: Readonly<Record<string, GgufValue>> | undefined;
}

/**
 * Opens a folder with `config.json` and safetensors (transformers or legacy layout), a `.gguf` file of either zaya dialect, or a folder
 * without `config.json` that holds exactly one `.gguf` file.
 *
 * @throws `IO` for a path that is neither; `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR` for what it holds.
 */
export async function openZayaSource(path: string): Promise<ZayaSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError(OP, 'a model folder or a .gguf file', path, cause);
  });
  if (!found.isDirectory()) {
    if (path.toLowerCase().endsWith('.gguf')) return openGguf(path);
    throw ioError(OP, 'a model folder or a .gguf file', path, 'another file');
  }
  const names = await readdir(path);
  if (names.includes('config.json')) return openFolder(path);
  const ggufs = names.filter((name) => name.toLowerCase().endsWith('.gguf'));
  if (ggufs.length === 1) return openGguf(join(path, ggufs[0]!));
  const got = ggufs.length === 0 ? 'neither' : `${ggufs.length} .gguf files and no config.json`;
  throw ioError(OP, 'config.json or exactly one .gguf file in the folder', path, got);
}

async function openFolder(path: string): Promise<ZayaSource> {
  const config = await readZayaConfig(path);
  const checkpoint = await openCheckpoint(path);
  if (!isLegacyCheckpoint(checkpoint))
    return { path, layout: 'transformers', config, checkpoint, metadata: undefined };
  return { path, layout: 'legacy', config, checkpoint: asNative(checkpoint, config), metadata: undefined };
}

async function openGguf(path: string): Promise<ZayaSource> {
  const fileSize = await fileSizeBytes(OP, path);
  const gguf = native().ggufRead(path);
  const parts = gguf.metadata['split.count']?.value ?? 1;
  if (Number(parts) > 1)
    throw new ZayascopeError(
      'BAD_CHECKPOINT',
      `${OP}: expected a GGUF file that holds the whole model, got one of ${parts} parts (${path}); llama-gguf-split --merge joins them`,
      { op: OP, tensor: path },
    );
  const { dialect, config, checkpoint } = openZayaGguf(gguf, path, fileSize);
  return { path, layout: `gguf ${dialect}`, config, checkpoint, metadata: gguf.metadata };
}
