import { ARCHITECTURES, findArchitecture } from './architectures.js';
import type { ModelConfig } from './runtime/architecture.js';

const examples = new Map<string, ModelConfig>();

/**
 * The smallest model of a `model_type`, of two blocks: the first has nothing before it, all later ones are
 * like the second. Of an unknown type that of the first family.
 */
export function exampleConfig(modelType = ''): ModelConfig {
  const architecture = findArchitecture(modelType) ?? ARCHITECTURES[0]!;
  const config = examples.get(modelType) ?? architecture.example(modelType);
  examples.set(modelType, config);
  return config;
}
