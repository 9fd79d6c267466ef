import { badArgument } from '../errors.js';
import type { StoredTensor, TensorPart } from './checkpoint.js';
import { readInto, withFile } from './file-access.js';

const OP = 'readTensor';

/** Large enough that the calls cost nothing beside the copy, small enough for flat memory. */
const DEFAULT_CHUNK_BYTES = 8 * 1024 * 1024;

/**
 * The bytes of a tensor (little-endian, row-major in its stored dtype), all of them or those of
 * `[beginBytes, endBytes)`. Reads at most 1 GiB at a time.
 *
 * @throws `IO` when a file is gone or shorter than its header said; `BAD_ARGUMENT` for a range outside the
 * tensor, or a part of a tensor whose axes are stored in another order.
 */
export async function readTensor(
  info: StoredTensor,
  beginBytes = 0,
  endBytes = info.sizeBytes,
): Promise<Uint8Array> {
  const isOrdered =
    Number.isSafeInteger(beginBytes) && Number.isSafeInteger(endBytes) && beginBytes <= endBytes;
  if (!isOrdered || beginBytes < 0 || endBytes > info.sizeBytes)
    throw badArgument(
      OP,
      `a range inside the tensor's ${info.sizeBytes} bytes`,
      `[${beginBytes}, ${endBytes})`,
      info.name,
    );
  const isWhole = beginBytes === 0 && endBytes === info.sizeBytes;
  if (info.storedAxes !== undefined && !isWhole)
    throw badArgument(OP, 'the whole tensor, whose axes are stored in another order', 'a range', info.name);
  const out = new Uint8Array(endBytes - beginBytes);
  let done = 0;
  const slices = sliceParts(info, beginBytes, endBytes);
  for (let at = 0; at < slices.length; ) {
    const { file } = slices[at]!;
    // A view may have very many parts, all in one file.
    await withFile(OP, file, async (handle) => {
      for (; at < slices.length && slices[at]!.file === file; at++) {
        const { offsetBytes, sizeBytes } = slices[at]!;
        await readInto(`${OP} ${info.name}`, handle, file, offsetBytes, out.subarray(done, done + sizeBytes));
        done += sizeBytes;
      }
    });
  }
  return info.storedAxes === undefined ? out : permute(out, info.shape, info.storedAxes);
}

/** Brings elements that lie in the axis order `storedAxes` into the order of `shape`. */
function permute(bytes: Uint8Array, shape: readonly number[], storedAxes: readonly number[]): Uint8Array {
  const elements = shape.reduce((product, size) => product * size, 1);
  const elementBytes = bytes.length / elements;
  const out = new Uint8Array(bytes.length);
  const strides = storedAxes.map((axis) =>
    shape.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  const index = storedAxes.map(() => 0);
  for (let from = 0, to = 0; from < elements; from++) {
    for (let byte = 0; byte < elementBytes; byte++)
      out[to * elementBytes + byte] = bytes[from * elementBytes + byte]!;
    for (let axis = storedAxes.length - 1; axis >= 0; axis--) {
      to += strides[axis]!;
      if (++index[axis]! < shape[storedAxes[axis]!]!) break;
      to -= strides[axis]! * index[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

/** Where the bytes `[beginBytes, endBytes)` of a tensor lie; one empty part for an empty range. */
export function sliceParts(info: StoredTensor, beginBytes: number, endBytes: number): TensorPart[] {
  const slices: TensorPart[] = [];
  let partBegin = 0;
  for (const { file, offsetBytes, sizeBytes } of info.parts) {
    const begin = Math.max(beginBytes, partBegin);
    const end = Math.min(endBytes, partBegin + sizeBytes);
    if (begin < end)
      slices.push({ file, offsetBytes: offsetBytes + begin - partBegin, sizeBytes: end - begin });
    partBegin += sizeBytes;
  }
  return slices.length > 0 ? slices : [{ file: info.file, offsetBytes: info.offsetBytes, sizeBytes: 0 }];
}

/**
 * The bytes of a tensor in order, in chunks of `chunkBytes` (default 8 MiB), for copies with flat memory; one
 * chunk if its axes are stored in another order. Throws as {@link readTensor}.
 */
export async function* tensorChunks(
  info: StoredTensor,
  chunkBytes = DEFAULT_CHUNK_BYTES,
): AsyncGenerator<Uint8Array> {
  const step = info.storedAxes === undefined ? chunkBytes : info.sizeBytes;
  for (let begin = 0; begin < info.sizeBytes; begin += step)
    yield await readTensor(info, begin, Math.min(begin + step, info.sizeBytes));
}
