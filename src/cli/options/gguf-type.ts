import { Option } from 'commander';
import { GGUF_TYPES } from '../../models/gguf/types.js';

/** `--type`, the weight type of a GGUF file to write. */
export function ggufTypeOption(): Option {
  return new Option('--type <type>', 'weight type of the file').choices(GGUF_TYPES).makeOptionMandatory();
}
