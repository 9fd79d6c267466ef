import { blockSize, DTYPES, type Dtype, ggmlType, ggmlTypeName, sizeBytes } from '../dtype.js';
import { unmet, type ZayascopeError } from '../errors.js';
import type { Checkpoint, StoredTensor, TensorInfo } from './checkpoint.js';
import type { GgufHeader } from './formats/gguf-header.js';

const OP = 'openGguf';

/**
 * The tensors of a GGUF model of several files, `gguf-split`'s parts; the metadata is the first file's.
 * @throws as {@link ggufCheckpoint}, and `BAD_CHECKPOINT` for a tensor in two parts.
 */
export function joinGgufParts(parts: readonly Checkpoint[]): Checkpoint {
  const [first] = parts as readonly [Checkpoint];
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  for (const part of parts)
    for (const tensor of [...part.tensors.values(), ...part.unreadable.values()]) {
      const { name, file } = tensor;
      const earlier = tensors.get(name) ?? unreadable.get(name);
      if (earlier !== undefined)
        throw bad('each tensor in one part', `it in ${earlier.file} too`, name, file);
      const readable = part.tensors.get(name);
      if (readable === undefined) unreadable.set(name, tensor);
      else tensors.set(name, readable);
    }
  return { ...first, tensors, unreadable, files: parts.flatMap(({ files }) => files) };
}

/**
 * The tensors of a GGUF file under the file's own names, axes in the reference's order (GGUF lists the
 * fastest first), axes of size one at the slow end dropped. Types that this library lacks go to `unreadable`
 * by their names. Reads nothing: the header has been read.
 *
 * @param gguf what `readGgufHeader` gave.
 * @param fileSize bytes of the file, against which every range is checked.
 * @throws `BAD_CHECKPOINT` for a duplicate name, malformed sizes, or data that overlaps, is misaligned or
 * lies outside the file.
 */
export function ggufCheckpoint(gguf: GgufHeader, file: string, fileSize: number): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  const unreadable = new Map<string, StoredTensor>();
  for (const tensor of gguf.tensors) {
    const { name } = tensor;
    if (tensors.has(name) || unreadable.has(name)) throw bad('each name once', 'it twice', name, file);
    const sizes = [...tensor.ne, tensor.sizeBytes, tensor.offsetBytes];
    if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 0))
      throw bad('sizes and offsets of non-negative integers', `[${sizes.join(', ')}]`, name, file);
    const shape = [...tensor.ne].reverse();
    while (shape.length > 1 && shape[0] === 1) shape.shift();
    const part = {
      file,
      offsetBytes: gguf.dataOffsetBytes + tensor.offsetBytes,
      sizeBytes: tensor.sizeBytes,
    };
    const stored = { name, shape, ...part, parts: [part] };
    const dtype = DTYPES.find((candidate) => ggmlType(candidate) === tensor.type);
    if (dtype === undefined) {
      unreadable.set(name, { ...stored, dtype: ggmlTypeName(tensor.type) });
      continue;
    }
    checkSize(stored, dtype, file);
    tensors.set(name, { ...stored, dtype });
  }
  checkRanges([...tensors.values(), ...unreadable.values()], gguf.alignment, file, fileSize);
  return { folder: file, tensors, unreadable, files: [file], metadata: new Map() };
}

function checkSize(tensor: Omit<StoredTensor, 'dtype'>, dtype: Dtype, file: string): void {
  const row = tensor.shape.at(-1) ?? 1;
  if (row % blockSize(dtype) !== 0)
    throw bad(
      `rows of whole blocks of ${blockSize(dtype)} elements in ${dtype}`,
      `${row}`,
      tensor.name,
      file,
    );
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  const expected = sizeBytes(dtype, elements);
  if (expected !== tensor.sizeBytes)
    throw bad(
      `${dtype} [${tensor.shape.join(', ')}] to occupy ${expected} bytes`,
      `${tensor.sizeBytes}`,
      tensor.name,
      file,
    );
}

function checkRanges(
  tensors: readonly StoredTensor[],
  alignment: number,
  file: string,
  fileSize: number,
): void {
  const ordered = [...tensors].sort((a, b) => a.offsetBytes - b.offsetBytes || a.sizeBytes - b.sizeBytes);
  let end = 0;
  for (const tensor of ordered) {
    const { offsetBytes, sizeBytes } = tensor;
    if (offsetBytes % alignment !== 0)
      throw bad(`data at a multiple of ${alignment} bytes`, `${offsetBytes}`, tensor.name, file);
    if (offsetBytes + sizeBytes > fileSize)
      throw bad(
        `data inside the file's ${fileSize} bytes`,
        `${offsetBytes} to ${offsetBytes + sizeBytes}`,
        tensor.name,
        file,
      );
    if (offsetBytes < end)
      throw bad(`data from byte ${end} on`, `${offsetBytes}, an overlap`, tensor.name, file);
    end = offsetBytes + sizeBytes;
  }
}

function bad(expected: string, got: string, tensor: string, file: string): ZayascopeError {
  return unmet('BAD_CHECKPOINT', OP, expected, got, { where: `${tensor} in ${file}`, tensor });
}
