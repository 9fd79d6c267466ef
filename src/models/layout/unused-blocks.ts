/** Weights of blocks that the configuration does not count: the model runs as a smaller one. */
import { unmet } from '../../errors.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import type { GgufHeader } from '../../weights/formats/gguf-header.js';
import { checkWeights } from '../runtime/weights.js';
import type { ModelSource } from './source.js';

/** The first of some tensors whose block is not below `count`, and the blocks of all of these. */
function beyond(names: Iterable<string>, block: RegExp, count: number) {
  const blocks = new Set<number>();
  let first: string | undefined;
  for (const name of names) {
    const number = Number(block.exec(name)?.[1] ?? -1);
    if (number < count) continue;
    first ??= name;
    blocks.add(number);
  }
  return first === undefined ? undefined : { first, blocks: [...blocks].sort((a, b) => a - b) };
}

/**
 * Refuses a GGUF file with tensors of blocks beyond its `block_count`, as llama.cpp does.
 * @throws `BAD_CHECKPOINT` naming the key and the first tensor.
 */
export function refuseUncountedBlocks(
  { metadata }: GgufHeader,
  stored: Checkpoint,
  op: string,
  file: string,
): void {
  const key = `${String(metadata['general.architecture']?.value)}.block_count`;
  const count = Number(metadata[key]?.value);
  const found = beyond([...stored.tensors.keys(), ...stored.unreadable.keys()], /^blk\.(\d+)\./, count);
  if (found === undefined) return;
  throw unmet(
    'BAD_CHECKPOINT',
    op,
    `tensors of ${count} blocks, as ${key} says`,
    `${found.first} (of ${found.blocks.length} blocks more, up to ${found.blocks.at(-1)})`,
    { where: file, tensor: found.first },
  );
}

/**
 * What is to be said of a folder with weights of more blocks than its config counts, which transformers
 * leaves out with a warning too; undefined where there are none.
 */
export function uncountedBlocks({ checkpoint, config, path }: ModelSource): string | undefined {
  const count = config.num_hidden_layers;
  const unused = checkWeights(checkpoint, config).unexpected.filter((name) => !name.endsWith('.inv_freq'));
  const found = beyond(unused, /^model\.layers\.(\d+)\./, count);
  if (found === undefined) return undefined;
  return `${path} has weights of ${found.blocks.length} blocks more than the ${count} of num_hidden_layers (first ${found.first}): they are left out`;
}
