/**
 * Checkpoints of the legacy layout under the names of the transformers layout, and back. Block `l` is made of
 * attention half-layer `2l` and MoE half-layer `2l + 1`. A legacy `res_scale` sits at the entry of a
 * half-layer and merges what came before, so the same vectors belong to the exit of the half-layer before it:
 * see `residualScale`. Only experts change shape: one matrix each there, one stack here.
 */
import { unmet } from '../../errors.js';
import type { Checkpoint, StoredTensor } from '../../weights/checkpoint.js';
import { allTensors, slice, stack, viewOf } from '../layout/stacked.js';
import { requiredTensors } from '../runtime/weights.js';
import type { ZayaConfig } from './config.js';

const OP = 'asNative';

/** Module of the transformers layout to module of half-layer `2l`. */
const ATTENTION = {
  input_layernorm: 'input_norm',
  'self_attn.o_proj': 'self_attn.o_proj',
  'self_attn.qkv_proj.q_proj': 'self_attn.qkv.linear_q',
  'self_attn.qkv_proj.k_proj': 'self_attn.qkv.linear_k',
  'self_attn.qkv_proj.v_proj_current': 'self_attn.qkv.val_proj1',
  'self_attn.qkv_proj.v_proj_delayed': 'self_attn.qkv.val_proj2',
  'self_attn.qkv_proj.conv_qk_depthwise': 'self_attn.qkv.conv_qk.0',
  'self_attn.qkv_proj.conv_qk_grouped': 'self_attn.qkv.conv_qk.1',
  'self_attn.qk_norm': 'self_attn.qkv',
} as const;

/** Module of the transformers layout to module of half-layer `2l + 1`. */
const MOE = {
  post_attention_layernorm: 'input_norm',
  'mlp.gate': 'zaya_block.router',
  'mlp.gate.down_proj': 'zaya_block.router.down_proj',
  'mlp.gate.router_mlp.norm': 'zaya_block.router.rmsnorm_eda',
  'mlp.gate.router_mlp.fc1': 'zaya_block.router.router_mlp.0',
  'mlp.gate.router_mlp.fc2': 'zaya_block.router.router_mlp.2',
  'mlp.gate.router_mlp.out_proj': 'zaya_block.router.router_mlp.4',
} as const;

const EXPERTS = { gate_up_proj: 'linear_fc1', down_proj: 'linear_fc2' } as const;

const MODEL: Readonly<Record<string, string>> = {
  'model.norm.weight': 'model.final_norm.weight',
  'model.input_hidden_states_scale': 'model.layers.0.res_scale.hidden_states_scale',
  'model.input_hidden_states_bias': 'model.layers.0.res_scale.hidden_states_bias',
};

/** True if a checkpoint has the names of the legacy layout. */
export function isLegacyCheckpoint(checkpoint: Checkpoint): boolean {
  return [...allTensors(checkpoint).keys()].some(
    (name) => name.includes('.self_attn.qkv.') || name.includes('.zaya_block.'),
  );
}

/**
 * A view of a checkpoint under the names and shapes of the transformers layout; a checkpoint that has them
 * already is returned as it is. No data is read: stacked experts have one part per legacy tensor. Tensors
 * that the model does not use keep their names.
 *
 * @throws `MISSING_TENSOR` naming the first missing legacy tensor and how many are missing; `BAD_CHECKPOINT`
 * when the experts of a block differ in shape or dtype.
 */
export function asNative(checkpoint: Checkpoint, config: ZayaConfig): Checkpoint {
  if (!isLegacyCheckpoint(checkpoint)) return checkpoint;
  const stored = allTensors(checkpoint);
  const sources = [...legacySources(config)];
  const names = sources.flatMap(([, legacy]) => legacy);
  const missing = names.filter((name) => !stored.has(name));
  if (missing.length > 0)
    throw unmet(
      'MISSING_TENSOR',
      OP,
      `${names.length} tensors of the legacy layout`,
      `${names.length - missing.length}; ${missing.length} missing, first ${missing[0]}`,
      { where: checkpoint.folder, tensor: missing[0] },
    );
  const view = sources.map(([native, legacy]) =>
    legacy.length === 1 && !isExpert(native)
      ? { ...stored.get(legacy[0]!)!, name: native }
      : stack(
          OP,
          native,
          legacy.map((name) => stored.get(name)!),
        ),
  );
  const used = new Set(names);
  const rest = [...stored.values()].filter(({ name }) => !used.has(name));
  return viewOf(checkpoint, [...rest, ...view]);
}

/**
 * The inverse view: a native checkpoint under the names and shapes of the legacy layout. Throws
 * `MISSING_TENSOR` for a missing tensor.
 */
export function asLegacy(checkpoint: Checkpoint, config: ZayaConfig): Checkpoint {
  const stored = allTensors(checkpoint);
  const view: StoredTensor[] = [];
  for (const [native, legacy] of legacySources(config)) {
    const tensor = stored.get(native);
    if (tensor === undefined)
      throw unmet('MISSING_TENSOR', 'asLegacy', native, 'none', { where: checkpoint.folder, tensor: native });
    for (const [index, name] of legacy.entries())
      view.push(isExpert(native) ? { ...slice(tensor, index), name } : { ...tensor, name });
  }
  return viewOf(checkpoint, view);
}

/** For every tensor that `config` needs, the legacy tensors that hold it: one, or one per expert in order. */
function legacySources(config: ZayaConfig): Map<string, string[]> {
  return new Map(requiredTensors(config).map(({ name }) => [name, legacyNames(name, config)]));
}

function legacyNames(native: string, config: ZayaConfig): string[] {
  const block = /^model\.layers\.(\d+)\.(.+)\.([^.]+)$/.exec(native);
  if (block === null) return [MODEL[native] ?? native];
  const [, index, module, leaf] = block as unknown as [string, string, string, string];
  const attention = 2 * Number(index);
  if (module === 'mlp.experts')
    return Array.from(
      { length: config.num_experts },
      (_, expert) =>
        `model.layers.${attention + 1}.zaya_block.experts.local_experts.${expert}.${EXPERTS[leaf as keyof typeof EXPERTS]}.weight`,
    );
  if (module.endsWith('_residual_scale')) return [`${residualScale(module, attention, config)}.${leaf}`];
  if (module in ATTENTION)
    return [`model.layers.${attention}.${ATTENTION[module as keyof typeof ATTENTION]}.${leaf}`];
  return [`model.layers.${attention + 1}.${MOE[module as keyof typeof MOE]}.${leaf}`];
}

/**
 * The scaling at the exit of a sub-block is the one at the entry of the next half-layer; the last block's
 * belongs to the model.
 */
function residualScale(module: string, attention: number, config: ZayaConfig): string {
  const next = attention + (module === 'post_attention_residual_scale' ? 1 : 2);
  return next === 2 * config.num_hidden_layers ? 'model.res_scale' : `model.layers.${next}.res_scale`;
}

function isExpert(native: string): boolean {
  return native.includes('.mlp.experts.');
}
