import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { describeValue } from '../../describe-value.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { GgufValue } from '../../native.js';
import { type Checkpoint, openCheckpoint } from '../../weights/checkpoint.js';
import { fileSizeBytes } from '../../weights/file-access.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import { readGgufHeader } from '../../weights/formats/gguf-header.js';
import { ggufCheckpoint, joinGgufParts } from '../../weights/gguf.js';
import { findModel, splitParts } from '../../weights/model-path.js';
import { ARCHITECTURES } from '../architectures.js';
import type { GgufLayout } from '../gguf/layout.js';
import { familyLayouts, layoutsOf } from '../layouts.js';
import type { ModelConfig } from '../runtime/architecture.js';
import { refuseQuantised } from './quantised.js';
import { readConfig } from './read-config.js';
import { refuseUncountedBlocks } from './unused-blocks.js';

const OP = 'openModelSource';

/** How a model is stored: `transformers`, another layout of its family's folders, or `gguf DIALECT`. */
export type ModelLayout = string;

/**
 * A model on disk, whatever its layout, seen through the transformers layout. Only headers have been read.
 */
export interface ModelSource {
  /** The model folder, or the GGUF file (of a split one the first part). */
  path: string;
  layout: ModelLayout;
  /** From config.json; of a GGUF file reconstructed from its metadata. */
  config: ModelConfig;
  /** Tensors under the transformers layout's names. */
  checkpoint: Checkpoint;
  /** Keys of a GGUF file (its tokenizer among them); undefined for a folder with config.json. */
  metadata: Readonly<Record<string, GgufValue>> | undefined;
}

/**
 * Opens a folder with `config.json` and safetensors or PyTorch weights (transformers or legacy layout), a
 * GGUF file of a known family whatever its name (all parts of a split one, an Ollama blob or manifest), a
 * folder without `config.json` that holds exactly one GGUF model, or an entry of the Hugging Face cache.
 *
 * @throws `IO` for a path that holds no model; `BAD_CONFIG`, `BAD_CHECKPOINT`, `MISSING_TENSOR` for what it
 * holds.
 */
export async function openModelSource(path: string): Promise<ModelSource> {
  const found = await findModel(OP, path);
  return found.kind === 'gguf' ? openGguf(found.path) : openFolder(found.path);
}

async function openFolder(path: string): Promise<ModelSource> {
  const config = await readConfig(path);
  const stored = await openCheckpoint(path);
  refuseQuantised(stored);
  const { folder } = layoutsOf(config);
  return { path, ...folder(stored, config), config, metadata: undefined };
}

async function openGguf(path: string): Promise<ModelSource> {
  const { gguf, stored } = await openGgufFile(path);
  refuseUncountedBlocks(gguf, stored, OP, path);
  const { dialect, config, checkpoint } = ggufLayout(gguf, path).open(gguf, stored, path);
  return { path, layout: `gguf ${dialect}`, config, checkpoint, metadata: gguf.metadata };
}

/**
 * Header and tensors of a GGUF file of any architecture, all parts of a split one, under the file's own
 * names.
 * @throws `IO`, `BAD_CHECKPOINT`.
 */
export async function openGgufFile(path: string): Promise<{ gguf: GgufHeader; stored: Checkpoint }> {
  const gguf = await readGgufHeader(OP, path);
  const count = Number(gguf.metadata['split.count']?.value ?? 1);
  const files = count > 1 ? await partFiles(path, count) : [path];
  const parts: Checkpoint[] = [];
  for (const [index, file] of files.entries()) {
    const part = index === 0 ? gguf : await readGgufHeader(OP, file);
    const number = Number(part.metadata['split.no']?.value ?? 0);
    if (count > 1 && number !== index)
      throw splitError(`part ${index + 1} of ${count}`, `part ${number + 1} by its split.no`, file);
    parts.push(ggufCheckpoint(part, file, await fileSizeBytes(OP, file)));
  }
  const stored = joinGgufParts(parts);
  const promised = Number(gguf.metadata['split.tensors.count']?.value ?? 0);
  const tensors = stored.tensors.size + stored.unreadable.size;
  if (count > 1 && promised > 0 && promised !== tensors)
    throw splitError(`${promised} tensors in ${count} parts`, `${tensors}`, path);
  return { gguf, stored };
}

/**
 * The GGUF file at a path, where its architecture is none that a model file computes; undefined for all else.
 * @throws `IO` for a path that holds no model; `BAD_CHECKPOINT` for a malformed header.
 */
export async function unknownGguf(path: string): Promise<string | undefined> {
  const found = await findModel(OP, path);
  if (found.kind !== 'gguf') return undefined;
  return ggufFamily(await readGgufHeader(OP, found.path)) === undefined ? found.path : undefined;
}

/** The family that a file's `general.architecture` names; undefined for none of ours. */
function ggufFamily({ metadata }: GgufHeader): string | undefined {
  const name = metadata['general.architecture']?.value;
  return ARCHITECTURES.find(({ family }) => (family.gguf as readonly unknown[]).includes(name))?.family.name;
}

function ggufLayout(gguf: GgufHeader, file: string): GgufLayout {
  const known = ggufFamily(gguf);
  if (known !== undefined) return familyLayouts(known).gguf;
  const name = gguf.metadata['general.architecture']?.value;
  const names = ARCHITECTURES.flatMap(({ family }) => family.gguf).map((each) => `"${each}"`);
  throw unmet('BAD_CHECKPOINT', OP, `general.architecture ${names.join(' or ')}`, describeValue(name), {
    where: file,
    tensor: file,
  });
}

async function partFiles(path: string, count: number): Promise<string[]> {
  const files = splitParts(path, count);
  if (files === undefined)
    throw splitError(
      'a name that ends in -00001-of-NNNNN.gguf',
      `one of ${count} parts by another name; llama-gguf-split --merge joins them`,
      path,
    );
  for (const [index, file] of files.entries())
    if (
      !(await stat(file).then(
        (found) => found.isFile(),
        () => false,
      ))
    )
      throw splitError(
        `all ${count} parts of the model in one folder`,
        `no part ${index + 1}, ${basename(file)}`,
        path,
      );
  return files;
}

function splitError(expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_CHECKPOINT', OP, expected, got, { where, tensor: where });
}
