/**
 * Tensors of a file that `torch.save` wrote (version 1.6 and later): a zip archive with one pickle,
 * `data.pkl`, and a stored member of raw elements per storage.
 * https://docs.pytorch.org/docs/stable/notes/serialization.html
 */
import { type ErrorCode, ZayascopeError } from '../../errors.js';
import type { StoredTensor } from '../checkpoint.js';
import { fileSizeBytes, withFile } from '../file-access.js';
import { type Pickled, type PickledTensor, PickleError, readPickle } from './pickle.js';
import { MAX_REPEATED, MAX_RUNS, viewOf } from './strided-view.js';
import { readZipDirectory, readZipMember, type ZipMember, type ZipReader, zipMemberStart } from './zip.js';

const MAX_PICKLE_BYTES = 256 * 1024 * 1024;
const MAX_DEPTH = 16;
/** Values looked at; a pickle may name one list any number of times. */
const MAX_VALUES = 1_000_000;

/** Storage class to the dtype's name in safetensors, and its bytes. */
const STORAGES: Readonly<Record<string, readonly [dtype: string, bytes: number]>> = {
  FloatStorage: ['F32', 4],
  DoubleStorage: ['F64', 8],
  HalfStorage: ['F16', 2],
  BFloat16Storage: ['BF16', 2],
  LongStorage: ['I64', 8],
  IntStorage: ['I32', 4],
  ShortStorage: ['I16', 2],
  CharStorage: ['I8', 1],
  ByteStorage: ['U8', 1],
  BoolStorage: ['BOOL', 1],
};

/** What a file holds. */
export interface PytorchFile {
  /**
   * Tensors by their keys, of nested dictionaries and lists joined with dots; of a lone tensor the empty
   * name.
   */
  tensors: StoredTensor[];
  /** Keys whose value is no tensor (an epoch, a learning rate); they are not used. */
  others: string[];
}

/** True if an archive is one of `torch.save`. */
export function isPytorchArchive(members: readonly ZipMember[]): boolean {
  return members.some(({ name }) => /^[^/]*\/data\.pkl$/.test(name) || name === 'data.pkl');
}

/**
 * Reads which tensors a file holds and where they lie. No function of the pickle is run.
 * @throws `code` for a malformed file, a TorchScript program, a pickle of more than tensors, views of too
 * many parts; `IO`.
 */
export async function readPytorchFile(op: string, code: ErrorCode, file: string): Promise<PytorchFile> {
  const fileBytes = await fileSizeBytes(op, file);
  return withFile(op, file, async (handle) => {
    const reader: ZipReader = { op, code, handle, fileBytes, file };
    const members = new Map((await readZipDirectory(reader)).map((member) => [member.name, member]));
    const bad = (expected: string, got: string, where = file): ZayascopeError =>
      new ZayascopeError(code, `${op}: expected ${expected}, got ${got} (${where})`, { op, tensor: where });
    const pickleName = [...members.keys()].find((name) => /^([^/]*\/)?data\.pkl$/.test(name));
    if (pickleName === undefined) throw bad('a file of torch.save', 'an archive without data.pkl');
    const prefix = pickleName.slice(0, -'data.pkl'.length);
    if (
      members.has(`${prefix}constants.pkl`) ||
      [...members.keys()].some((name) => name.startsWith(`${prefix}code/`))
    )
      throw bad('a file of tensors', 'a TorchScript program; save its state_dict() with torch.save');
    const order = members.get(`${prefix}byteorder`);
    if (order !== undefined && order.sizeBytes < 16) {
      const text = new TextDecoder().decode(await readZipMember(reader, order));
      if (text.trim() !== 'little') throw bad('little-endian storages', `byteorder ${JSON.stringify(text)}`);
    }
    const pickle = members.get(pickleName)!;
    if (pickle.sizeBytes > MAX_PICKLE_BYTES)
      throw bad(`a pickle of at most ${MAX_PICKLE_BYTES} bytes`, `${pickle.sizeBytes}`);
    let root: Pickled;
    try {
      root = readPickle(await readZipMember(reader, pickle));
    } catch (cause) {
      if (!(cause instanceof PickleError)) throw cause;
      throw new ZayascopeError(
        code,
        `${op}: expected ${cause.message} (${pickleName} in ${file}); load it where it is trusted and save its state_dict() with safetensors`,
        { op, tensor: file, cause },
      );
    }
    const found: Found = { tensors: new Map(), twice: undefined, others: [], visited: 0 };
    collect(root, '', 0, found);
    if (found.twice !== undefined)
      throw bad('each name once', `several tensors ${found.twice}`, `${pickleName} in ${file}`);
    if (found.tensors.size === 0 && found.others.includes(''))
      throw bad('tensors', 'another value', `${pickleName} in ${file}`);
    if (found.visited > MAX_VALUES)
      throw bad(`at most ${MAX_VALUES} values`, 'more', `${pickleName} in ${file}`);
    const tensors: StoredTensor[] = [];
    const starts = new Map<string, number>();
    for (const [name, tensor] of found.tensors) {
      const where = `${name || 'the tensor'} in ${file}`;
      const { storage } = tensor;
      const known = STORAGES[storage.type.slice(storage.type.lastIndexOf('.') + 1)];
      if (known === undefined)
        throw bad(`storages of ${Object.keys(STORAGES).join(', ')}`, storage.type, where);
      const member = members.get(`${prefix}data/${storage.key}`);
      if (member === undefined) throw bad(`the storage ${prefix}data/${storage.key}`, 'none', where);
      const [dtype, bytes] = known;
      // As torch.load: a storage of another size is a file that was altered or cut.
      if (member.method !== 'stored' || member.sizeBytes !== storage.elements * bytes)
        throw bad(
          `${storage.elements * bytes} stored bytes of ${member.name}`,
          `${member.sizeBytes} that are ${member.method}`,
          where,
        );
      const view = viewOf(tensor);
      if (!(view.end <= storage.elements))
        throw bad(
          `a view inside the storage's ${storage.elements} elements`,
          `[${tensor.shape.join(', ')}] with strides [${tensor.strides.join(', ')}] from ${tensor.offset} on`,
          where,
        );
      if (view.runs === undefined || (view.elements > storage.elements && view.elements > MAX_REPEATED))
        throw bad(
          `a view of at most ${MAX_RUNS} runs, or ${MAX_REPEATED} repeated elements (call .contiguous() before saving)`,
          `[${tensor.shape.join(', ')}] with strides [${tensor.strides.join(', ')}]`,
          where,
        );
      if (!starts.has(member.name)) starts.set(member.name, await zipMemberStart(reader, member));
      const start = starts.get(member.name)!;
      const { storedAxes } = view;
      const parts = view.runs.map(({ first, count }) => ({
        file,
        offsetBytes: start + first * bytes,
        sizeBytes: count * bytes,
      }));
      tensors.push({
        ...{ name, dtype, shape: tensor.shape, ...parts[0]! },
        sizeBytes: view.elements * bytes,
        parts,
        ...(storedAxes === undefined ? {} : { storedAxes }),
      });
    }
    return { tensors, others: found.others };
  });
}

interface Found {
  tensors: Map<string, PickledTensor>;
  /** A name that two tensors have, where there is one: of keys 1 and '1'. */
  twice: string | undefined;
  others: string[];
  visited: number;
}

function collect(value: Pickled, name: string, depth: number, found: Found): void {
  if (++found.visited > MAX_VALUES) return;
  const entries =
    depth < MAX_DEPTH && (value instanceof Map || Array.isArray(value)) ? value.entries() : undefined;
  if (typeof value === 'object' && value !== null && 'tensor' in value) {
    if (found.tensors.has(name)) found.twice ??= name;
    found.tensors.set(name, value.tensor);
  } else if (entries === undefined) found.others.push(name);
  else
    for (const [key, item] of entries) {
      if (found.visited > MAX_VALUES) return;
      const part = typeof key === 'string' || typeof key === 'number' ? String(key) : '?';
      collect(item, name === '' ? part : `${name}.${part}`, depth + 1, found);
    }
}
