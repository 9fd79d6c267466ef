import { availableParallelism } from 'node:os';
import { blockBytes, blockSize, ggmlType, sizeBytes } from '../../dtype.js';
import { unmet } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { type NativeMapping, native } from '../../native.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import { roundTo } from '../../weights/round.js';
import { readTensor, sliceParts } from '../../weights/tensor-data.js';

const OP = 'loadWeights';

/**
 * Elements widened at a time: a multiple of every block size. Large enough for the calls to cost nothing,
 * small enough to stay near the cache.
 */
const CHUNK_ELEMENTS = 1 << 20;

/**
 * A tensor on the device and what it is filled from: the same dtype, or one that is widened to F32, and from
 * there quantised where the tensor has another dtype.
 */
export interface FillJob {
  tensor: ResidentTensor;
  stored: TensorInfo;
  /** Values of a tensor in F32 are rounded to this dtype; undefined: none. */
  rounding?: 'BF16' | 'F16' | undefined;
  /** Reject NaN and infinities. */
  checkFinite: boolean;
}

interface Range {
  job: FillJob;
  begin: number;
  end: number;
}

/**
 * Fills tensors from their mapped files, several chunks at once, with 12 MiB of memory per thread, and the
 * size of the tensor for one that the device rearranges.
 *
 * @param mappings the mapped file of every part.
 * @throws `BAD_CHECKPOINT` for a value that is not finite in a job that checks; `IO` when a file has become
 * shorter.
 */
export async function fillTensors(
  jobs: readonly FillJob[],
  mappings: ReadonlyMap<string, NativeMapping>,
): Promise<void> {
  const ranges = jobs.flatMap(rangesOf);
  let next = 0;
  const lane = async () => {
    const bytes = new Uint8Array(sizeBytes('F32', CHUNK_ELEMENTS));
    const values = new Float32Array(CHUNK_ELEMENTS);
    try {
      while (next < ranges.length) await fillRange(ranges[next++]!, mappings, bytes, values);
    } catch (error) {
      next = ranges.length;
      throw error;
    }
  };
  const lanes = Math.min(availableParallelism(), 4, ranges.length);
  const results = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

function rangesOf(job: FillJob): Range[] {
  const elements = elementCount(job.tensor.shape);
  // Axes stored in another order can only be read whole; such tensors are small. What the device rearranges
  // can only be written whole.
  const isWhole = job.stored.storedAxes !== undefined || job.tensor.isRepacked === true;
  const step = isWhole ? elements : CHUNK_ELEMENTS;
  const ranges: Range[] = [];
  for (let begin = 0; begin < elements; begin += step)
    ranges.push({ job, begin, end: Math.min(begin + step, elements) });
  return ranges;
}

async function fillRange(
  { job, begin, end }: Range,
  mappings: ReadonlyMap<string, NativeMapping>,
  scratchBytes: Uint8Array,
  scratchValues: Float32Array,
): Promise<void> {
  const { tensor, stored, checkFinite } = job;
  const count = end - begin;
  const bytes =
    stored.storedAxes === undefined
      ? readRange(stored, begin, end, mappings, scratchBytes)
      : await readTensor(stored);
  let out = bytes;
  if (stored.dtype !== tensor.dtype) {
    const values = count <= scratchValues.length ? scratchValues.subarray(0, count) : new Float32Array(count);
    if (stored.dtype === 'F32')
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
    else await native().dequantize(bytes, ggmlType(stored.dtype), count, values);
    out = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    // Blocks do not cross rows: whichever rows a chunk cuts, its blocks are those of the file.
    if (tensor.dtype !== 'F32') out = await native().quantize(values, ggmlType(tensor.dtype), count, null);
  }
  if (job.rounding !== undefined)
    roundTo(job.rounding, new Float32Array(out.buffer, out.byteOffset, out.byteLength / 4));
  if (checkFinite) requireFinite(out, begin, stored);
  tensor.context.write(tensor.handle, out, sizeBytes(tensor.dtype, begin));
}

function readRange(
  stored: TensorInfo,
  begin: number,
  end: number,
  mappings: ReadonlyMap<string, NativeMapping>,
  scratch: Uint8Array,
): Uint8Array {
  const perBlock = blockBytes(stored.dtype) / blockSize(stored.dtype);
  const size = (end - begin) * perBlock;
  const bytes = size <= scratch.length ? scratch : new Uint8Array(size);
  let done = 0;
  for (const part of sliceParts(stored, begin * perBlock, end * perBlock)) {
    mappings.get(part.file)!.read(part.offsetBytes, bytes.subarray(done, done + part.sizeBytes));
    done += part.sizeBytes;
  }
  return bytes.subarray(0, done);
}

/** `bytes` hold F32 values. */
function requireFinite(bytes: Uint8Array, begin: number, stored: TensorInfo): void {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw unmet('BAD_CHECKPOINT', OP, 'finite values', `${values[at]} at index ${begin + at}`, {
      where: `${stored.name} in ${stored.file}`,
      tensor: stored.name,
    });
}
