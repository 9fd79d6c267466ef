/** The tensors of a model under the names that its files give them: no table of names is needed. */
import { basename, join, resolve } from 'node:path';
import { ARCHITECTURES } from '../../models/architectures.js';
import { openGgufFile } from '../../models/layout/source.js';
import { openCheckpoint, type StoredTensor, type TensorInfo } from '../../weights/checkpoint.js';
import { readSmallFile } from '../../weights/file-access.js';
import { readGgufHeader } from '../../weights/formats/gguf-header.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { findModel } from '../../weights/model-path.js';
import { isFloatDtype } from '../tensor-values.js';

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** A model's tensors. */
export interface RawWeights {
  name: string;
  /** `safetensors`, or `gguf` and the architecture that the file names. */
  layout: string;
  /** Tensors with numbers that are read, by name. */
  tensors: ReadonlyMap<string, TensorInfo>;
  /** Others. */
  unreadable: readonly StoredTensor[];
}

/** @throws `IO`, `BAD_CHECKPOINT`. */
export async function openRawWeights(path: string): Promise<RawWeights> {
  const found = await findModel('diffWeights', path);
  const name = basename(resolve(path));
  if (found.kind === 'folder')
    return { name, layout: 'safetensors', ...split(await openCheckpoint(found.path)) };
  const { gguf, stored } = await openGgufFile(found.path);
  const architecture = gguf.metadata['general.architecture']?.value;
  return { name, layout: `gguf ${String(architecture ?? '')}`.trim(), ...split(stored) };
}

function split({
  tensors,
  unreadable,
}: Awaited<ReturnType<typeof openCheckpoint>>): Pick<RawWeights, 'tensors' | 'unreadable'> {
  const isRead = ({ dtype, shape }: StoredTensor) =>
    isFloatDtype(dtype as TensorInfo['dtype']) && countOf(shape) > 0;
  return {
    tensors: new Map([...tensors].filter(([, tensor]) => isRead(tensor))),
    unreadable: [...unreadable.values(), ...[...tensors.values()].filter((tensor) => !isRead(tensor))],
  };
}

export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A tensor as a stack of matrices; each element of a vector is a row. */
export function matrixOf(shape: readonly number[]): { stack: number; rows: number; columns: number } {
  if (shape.length < 2) return { stack: 1, rows: countOf(shape), columns: 1 };
  const columns = shape.at(-1)!;
  const rows = shape.at(-2)!;
  return { stack: countOf(shape) / (rows * columns), rows, columns };
}

/**
 * Whether a model's family is one of those whose tensor names this library translates. @throws `IO`,
 * `BAD_CONFIG`, `BAD_CHECKPOINT`.
 */
export async function isKnownFamily(path: string): Promise<boolean> {
  const found = await findModel('diffWeights', path);
  if (found.kind === 'gguf') {
    const { metadata } = await readGgufHeader('diffWeights', found.path);
    const name = metadata['general.architecture']?.value;
    return ARCHITECTURES.some(({ family }) => (family.gguf as readonly unknown[]).includes(name));
  }
  const file = join(found.path, 'config.json');
  const where = { code: 'BAD_CONFIG', op: 'diffWeights', where: file } as const;
  const { model_type: type } = parseJsonObject(
    await readSmallFile('diffWeights', file, MAX_CONFIG_BYTES),
    where,
  );
  return ARCHITECTURES.some(({ family }) => (family.types as readonly unknown[]).includes(type));
}
