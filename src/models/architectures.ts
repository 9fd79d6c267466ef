/** The families of models that can run. */
import { unmet } from '../errors.js';
import { ConfigKeys } from './layout/config-keys.js';
import { QWEN3_ARCHITECTURE } from './qwen3/architecture.js';
import type { Architecture, ModelConfig } from './runtime/architecture.js';
import { ZAYA_ARCHITECTURE } from './zaya/architecture.js';

/** The first is what dumps are taken for that do not say what they are of. */
export const ARCHITECTURES: readonly Architecture[] = [ZAYA_ARCHITECTURE, QWEN3_ARCHITECTURE];

/** The family of a `model_type`; undefined for others. */
export function findArchitecture(modelType: unknown): Architecture | undefined {
  return ARCHITECTURES.find(({ family }) => (family.types as readonly unknown[]).includes(modelType));
}

/** The family of a configuration. */
export function architectureOf({ model_type }: ModelConfig): Architecture {
  const found = findArchitecture(model_type);
  if (found === undefined) throw unmet('BAD_CONFIG', 'architectureOf', 'a known model_type', model_type);
  return found;
}

/**
 * Validates a parsed `config.json` of any family.
 * @param where the file, for messages; default `config.json`. @throws `BAD_CONFIG` naming the key, what was
 * expected and what came.
 */
export function parseConfig(json: Record<string, unknown>, where = 'config.json'): ModelConfig {
  const types = ARCHITECTURES.flatMap(({ family }) => family.types);
  const type = new ConfigKeys(json, 'parseConfig', where).literal('model_type', types);
  return findArchitecture(type)!.parseConfig(json, where);
}
