/**
 * How Qwen3's checkpoints are stored: transformers writes each expert's matrices apart; in memory, and in
 * files of other programs, it joins all gate and up projections of a block.
 */
import type { Checkpoint, StoredTensor } from '../../weights/checkpoint.js';
import { sliceParts } from '../../weights/tensor-data.js';
import { allTensors, stack, viewOf } from '../layout/stacked.js';
import type { Layouts } from '../runtime/architecture.js';
import { requiredTensors } from '../runtime/weights.js';
import type { Qwen3Config } from './config.js';
import { openQwen3Gguf, planQwen3Gguf } from './gguf.js';

const OP = 'openModelSource';

/** Qwen3's layouts. */
export const QWEN3_LAYOUTS: Layouts<Qwen3Config> = {
  folder: (stored, config) => ({ layout: 'transformers', checkpoint: stacked(stored, config) }),
  gguf: { open: openQwen3Gguf, plan: planQwen3Gguf },
};

/**
 * A view with one stack a projection of a block's experts. What is missing stays missing: `checkWeights`
 * names it.
 */
function stacked(checkpoint: Checkpoint, config: Qwen3Config): Checkpoint {
  const stored = allTensors(checkpoint);
  const used = new Set<string>();
  const view: StoredTensor[] = [];
  for (const { name } of requiredTensors(config)) {
    const [, experts, projection] = /^(.+\.mlp\.experts)\.(gate_proj|up_proj|down_proj)$/.exec(name) ?? [];
    if (experts === undefined || stored.has(name)) continue;
    const names = Array.from(
      { length: config.num_experts },
      (_, each) => `${experts}.${each}.${projection}.weight`,
    );
    const joined = stored.get(`${experts}.gate_up_proj`);
    if (names.every((each) => stored.has(each))) {
      for (const each of names) used.add(each);
      view.push(
        stack(
          OP,
          name,
          names.map((each) => stored.get(each)!),
        ),
      );
    } else if (joined !== undefined && projection !== 'down_proj' && joined.shape.length === 3) {
      used.add(joined.name);
      view.push(half(joined, name, projection === 'gate_proj' ? 0 : 1));
    }
  }
  const rest = [...stored.values()].filter(({ name }) => !used.has(name));
  return view.length === 0
    ? checkpoint
    : { ...viewOf(checkpoint, [...rest, ...view]), identified: [...stored.values()] };
}

/** The first or the second half of each expert's rows. */
function half(joined: StoredTensor, name: string, which: 0 | 1): StoredTensor {
  const [experts, rows, columns] = joined.shape as [number, number, number];
  const sizeBytes = joined.sizeBytes / 2;
  const own = sizeBytes / experts;
  const parts = Array.from({ length: experts }, (_, expert) => {
    const start = (2 * expert + which) * own;
    return sliceParts(joined, start, start + own);
  }).flat();
  return { ...joined, ...parts[0]!, name, shape: [experts, rows / 2, columns], sizeBytes, parts };
}
