/**
 * How the checkpoints of each family are stored: apart from `architectures.ts`, because reading them asks the
 * trace what a model needs.
 */
import { architectureOf } from './architectures.js';
import { QWEN3_LAYOUTS } from './qwen3/layouts.js';
import type { Layouts, ModelConfig } from './runtime/architecture.js';
import { ZAYA_LAYOUTS } from './zaya/layouts.js';

/** By the family's name. */
const LAYOUTS: Readonly<Record<string, Layouts>> = { zaya: ZAYA_LAYOUTS, qwen3: QWEN3_LAYOUTS };

/** The layouts of a configuration's family. */
export function layoutsOf(config: ModelConfig): Layouts {
  return familyLayouts(architectureOf(config).family.name);
}

/** The layouts of a family by its name. */
export function familyLayouts(name: string): Layouts {
  return LAYOUTS[name]!;
}
