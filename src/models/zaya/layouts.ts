import type { Layouts } from '../runtime/architecture.js';
import type { ZayaConfig } from './config.js';
import { openZayaGguf } from './gguf.js';
import { planGguf } from './gguf-plan.js';
import { asNative, isLegacyCheckpoint } from './legacy.js';

/** How ZAYA's checkpoints are stored: see `legacy.ts` and, for the GGUF dialects, `gguf-names.ts`. */
export const ZAYA_LAYOUTS: Layouts<ZayaConfig> = {
  folder(stored, config) {
    const isLegacy = isLegacyCheckpoint(stored);
    return {
      layout: isLegacy ? 'legacy' : 'transformers',
      checkpoint: isLegacy ? asNative(stored, config) : stored,
    };
  },
  gguf: { open: openZayaGguf, plan: planGguf },
};
