import { DUMP_KINDS } from './kinds/dump.mjs';
import { RECORDING_KINDS } from './kinds/recording.mjs';
import { TENSOR_KINDS } from './kinds/tensors.mjs';
import { TEXT_KINDS } from './kinds/text.mjs';

/**
 * The kinds of file that a user may hand us. A kind has
 * - `seeds`: folders that `seeds.mjs` makes, one of which a case begins with; `target`: what of the folder
 *   the reader is given;
 * - `mutate(random, files)`: the files of the folder that become others;
 * - `oracle`: the name of an independent reader in `oracle.py`, where there is one;
 * - `lenient`: sentences of the oracle about what it refuses and is read here, each with the reason why that
 *   is right. How each is read stands in `readers.mjs`;
 * - `inChild`: another reader, asked once more where the first ended its process: it must answer;
 * - `check(ours, right)`: what is wrong with an answer beside the oracle's, where the two are not the same
 *   words.
 */
export const KINDS = [...DUMP_KINDS, ...RECORDING_KINDS, ...TENSOR_KINDS, ...TEXT_KINDS];
