import { createHash } from 'node:crypto';
import type { Checkpoint, StoredTensor } from './checkpoint.js';
import { readSmallFile } from './file-access.js';
import { readTensor } from './tensor-data.js';

/**
 * Bytes taken from each end of a tensor: enough to tell checkpoints apart, little enough to read from the
 * full-size model in a second.
 */
const EDGE_BYTES = 32_768;

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * SHA-256, in hex, of the bytes of a config file.
 * @throws `IO` when it cannot be read.
 */
export async function configSha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readSmallFile('configSha256', file, MAX_CONFIG_BYTES))
    .digest('hex');
}

/**
 * A cheap identity of a checkpoint, in hex, equal to what the Python dumper computes: one SHA-256 over all
 * tensors sorted by the bytes of their UTF-8 names. Each adds the text `NAME\0DTYPE\0d0,d1,...\0`, its first
 * 32 KiB, and its last 32 KiB (tensors of up to 64 KiB enter whole). How tensors are spread over shards makes
 * no difference.
 *
 * @throws `IO` when a file cannot be read.
 */
export async function weightsSha256(checkpoint: Checkpoint): Promise<string> {
  const hash = createHash('sha256');
  const tensors: readonly StoredTensor[] = checkpoint.identified ?? [
    ...checkpoint.tensors.values(),
    ...checkpoint.unreadable.values(),
  ];
  const keyed = tensors.map((tensor) => ({ tensor, key: Buffer.from(tensor.name) }));
  for (const { tensor } of keyed.sort((a, b) => a.key.compare(b.key))) {
    hash.update(`${tensor.name}\0${tensor.dtype}\0${tensor.shape.join(',')}\0`);
    const headEnd = Math.min(tensor.sizeBytes, EDGE_BYTES);
    const tailBegin = Math.max(headEnd, tensor.sizeBytes - EDGE_BYTES);
    // Where the file has other axes, only the whole tensor can be brought into the order of its shape.
    const whole = tensor.storedAxes === undefined ? undefined : await readTensor(tensor);
    for (const [begin, end] of [
      [0, headEnd],
      [tailBegin, tensor.sizeBytes],
    ] as const)
      hash.update(whole?.subarray(begin, end) ?? (await readTensor(tensor, begin, end)));
  }
  return hash.digest('hex');
}
