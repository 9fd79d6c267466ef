import { type Command, Option } from 'commander';
import { DTYPES, type Dtype } from '../../dtype.js';

/** What {@link addCacheOptions} adds to a command's options. */
export interface CacheOptions {
  flashAttention?: boolean;
  keyType: Dtype;
  valueType: Dtype;
}

/** Adds how libllama computes attention and in which types it keeps keys and values. */
export function addCacheOptions(command: Command): Command {
  return command
    .option('--flash-attention', 'attention as one node')
    .addOption(
      new Option('--key-type <type>', 'element type of the key cache').choices(DTYPES).default('F16'),
    )
    .addOption(
      new Option('--value-type <type>', 'element type of the value cache').choices(DTYPES).default('F16'),
    );
}
