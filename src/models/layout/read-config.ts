import { join } from 'node:path';
import { readSmallFile } from '../../weights/file-access.js';
import { parseJsonObject } from '../../weights/json-object.js';
import { parseConfig } from '../architectures.js';
import type { ModelConfig } from '../runtime/architecture.js';

const OP = 'readConfig';
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * Reads and validates `config.json` of a model folder of any family.
 * @throws `IO` when it cannot be read, `BAD_CONFIG` naming the key, what was expected and what came.
 */
export async function readConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, 'config.json');
  const bytes = await readSmallFile(OP, file, MAX_CONFIG_BYTES);
  return parseConfig(parseJsonObject(bytes, { code: 'BAD_CONFIG', op: OP, where: file }), file);
}
