import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { describeValue } from '../describe-value.js';
import type { Dtype } from '../dtype.js';
import { unmet, type ZayascopeError } from '../errors.js';
import { pathExists } from '../regular-file.js';
import { ioError, readSmallFile } from './file-access.js';
import { sniffFile } from './formats/file-kind.js';
import { readPytorchFile } from './formats/pytorch.js';
import { parseJsonObject } from './json-object.js';
import { isSafetensorsDtype, readSafetensorsHeader, type SafetensorsHeader } from './safetensors.js';

const OP = 'openCheckpoint';
/** In the order of transformers' preference. */
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const PYTORCH = 'pytorch_model.bin';
const PYTORCH_INDEX = 'pytorch_model.bin.index.json';
const MAX_INDEX_BYTES = 100_000_000;

/** A contiguous range of a file. */
export interface TensorPart {
  /** Path of the file. */
  file: string;
  /** Absolute position in the file, in bytes. */
  offsetBytes: number;
  sizeBytes: number;
}

/** Where a tensor's little-endian, row-major data lies. `dtype` is the name that the file uses. */
export interface StoredTensor<D extends string = string> {
  name: string;
  dtype: D;
  /** Axes in the reference's order (slowest first). */
  shape: readonly number[];
  /** File of the first part. */
  file: string;
  /** Position of the first part in its file, in bytes. */
  offsetBytes: number;
  /** Bytes of all parts together. */
  sizeBytes: number;
  /**
   * The data in order. One part, except where a tensor is stacked from several (experts of the legacy
   * layout).
   */
  parts: readonly TensorPart[];
  /**
   * Set where the file stores the axes of `shape` in another order, slowest first: `[2, 0, 1]` says that axis
   * 2 is the slowest.
   * `readTensor` gives the order of `shape`; who maps the bytes must permute them.
   */
  storedAxes?: readonly number[];
}

/** A tensor whose dtype this library can compute with. */
export type TensorInfo = StoredTensor<Dtype>;

/** The tensors of a model folder; only headers are held in memory. */
export interface Checkpoint {
  /** The folder that holds the files. */
  folder: string;
  /** Readable tensors by name. */
  tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Tensors in a dtype of the format that this library does not compute with (`F8_E4M3`, `U8`, ...), by name.
   */
  unreadable: ReadonlyMap<string, StoredTensor>;
  /** Paths of the files, in the order of their names. */
  files: readonly string[];
  /** The `__metadata__` strings of all files; where two files differ on a key, the first file's. */
  metadata: ReadonlyMap<string, string>;
  /** What a user should know about how it was read. */
  notes?: readonly string[];
  /**
   * The tensors that identify the weights, where these are not the ones above: those of the files, of which a
   * view has made others.
   */
  identified?: readonly StoredTensor[];
}

/**
 * Opens the checkpoint of a model folder: `model.safetensors`, or else the shards of
 * `model.safetensors.index.json`, or else `pytorch_model.bin`, or the shards of its index (the same order of
 * preference as transformers; PyTorch files are read without running their pickle). A path of one such file
 * or index is accepted as well. A tensor that the index names and no shard has is a note and a warning of the
 * process (`ZayascopeWarning`), as for transformers: the model may not need it.
 *
 * @throws `IO` when something cannot be read; `BAD_CHECKPOINT` when a header or the index is malformed, a
 * shard is missing or outside the folder, or a tensor is in two shards or in another shard than the index
 * names.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError(OP, 'a model folder', path, cause);
  });
  if (!found.isDirectory())
    return path.endsWith('.json')
      ? openIndex(dirname(path), basename(path))
      : openFiles(dirname(path), [path]);
  if (await pathExists(join(path, SINGLE))) return openFiles(path, [join(path, SINGLE)]);
  if (await pathExists(join(path, INDEX))) return openIndex(path, INDEX);
  if (await pathExists(join(path, PYTORCH))) return openFiles(path, [join(path, PYTORCH)]);
  if (await pathExists(join(path, PYTORCH_INDEX))) return openIndex(path, PYTORCH_INDEX);
  throw bad(`${SINGLE}, ${PYTORCH} or the index of one in the folder`, await otherWeights(path), path);
}

/** Weights that a folder holds under names that no index leads to. */
async function otherWeights(folder: string): Promise<string> {
  const names = (await readdir(folder))
    .filter((name) => /\.(safetensors|bin|pt|pth|gguf|h5|msgpack)$/i.test(name))
    .sort();
  const shown = names.slice(0, 3).join(', ');
  if (names.length === 0) return 'neither, and no other weights';
  if (names.some((name) => name.startsWith('adapter_model')))
    return `${shown}, an adapter: merge it into its model and save that`;
  return `${names.length > 3 ? `${names.length} other files of weights, ${shown}, ..` : shown} (a model in shards needs its index)`;
}

async function openIndex(folder: string, name: string): Promise<Checkpoint> {
  const file = join(folder, name);
  const bytes = await readSmallFile(OP, file, MAX_INDEX_BYTES);
  const { weight_map: map } = parseJsonObject(bytes, { code: 'BAD_CHECKPOINT', op: OP, where: file });
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw bad('an object weight_map from tensor to file', describeValue(map), file);
  const located = Object.entries(map as Record<string, unknown>).map(
    ([tensor, shard]) => [tensor, shardPath(folder, tensor, shard, file)] as const,
  );
  if (located.length === 0) throw bad('a weight_map with at least one tensor', 'none', file);
  const shards = [...new Set(located.map(([, shard]) => shard))].sort();
  for (const shard of shards)
    if (!(await pathExists(shard))) throw bad('every shard that the index names', `no file ${shard}`, file);
  const checkpoint = await openFiles(folder, shards);
  const stale: string[] = [];
  for (const [tensor, shard] of located) {
    const stored = checkpoint.tensors.get(tensor) ?? checkpoint.unreadable.get(tensor);
    if (stored === undefined) stale.push(tensor);
    else if (stored.file !== shard)
      throw bad(`the tensor in ${shard}, as the index says`, `it in ${stored.file}`, file, tensor);
  }
  if (stale.length === 0) return checkpoint;
  const note = `${name} names ${stale.length === 1 ? `${stale[0]}, which` : `${stale.length} tensors (${stale[0]} the first) that`} no shard has`;
  process.emitWarning(`${OP}: ${note} (${file})`, 'ZayascopeWarning');
  return { ...checkpoint, notes: [note] };
}

/**
 * A shard must be a safetensors file inside the folder; an index that names an index (a cycle) fails here.
 */
function shardPath(folder: string, tensor: string, shard: unknown, index: string): string {
  if (typeof shard !== 'string' || !/\.(safetensors|bin)$/.test(shard) || shard.includes('\0'))
    throw bad('the name of a .safetensors or .bin file', describeValue(shard), index, tensor);
  const inside = normalize(shard);
  if (isAbsolute(inside) || inside.split(sep).includes('..'))
    throw bad('a shard inside the model folder', describeValue(shard), index, tensor);
  return join(folder, inside);
}

async function openFiles(folder: string, files: readonly string[]): Promise<Checkpoint> {
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  const metadata = new Map<string, string>();
  for (const file of files) {
    const header = await readHeader(file);
    for (const stored of header.tensors) {
      const first = tensors.get(stored.name) ?? unreadable.get(stored.name);
      if (first) throw bad('each tensor in one shard', `it in ${first.file} too`, file, stored.name);
      if (isReadable(stored)) tensors.set(stored.name, stored);
      else unreadable.set(stored.name, stored);
    }
    for (const [key, value] of header.metadata) if (!metadata.has(key)) metadata.set(key, value);
  }
  return { folder, tensors, unreadable, files, metadata };
}

/** The tensors of one file, by its content. */
async function readHeader(file: string): Promise<Pick<SafetensorsHeader, 'tensors' | 'metadata'>> {
  const found = await sniffFile(OP, file);
  if (found.kind !== 'zip') return readSafetensorsHeader(file);
  const { tensors } = await readPytorchFile(OP, 'BAD_CHECKPOINT', file);
  return { tensors, metadata: new Map() };
}

function isReadable(stored: StoredTensor): stored is TensorInfo {
  return isSafetensorsDtype(stored.dtype);
}

function bad(expected: string, got: string, file: string, tensor?: string): ZayascopeError {
  const where = tensor === undefined ? file : `${tensor} in ${file}`;
  return unmet('BAD_CHECKPOINT', OP, expected, got, { where, tensor: tensor ?? file });
}
