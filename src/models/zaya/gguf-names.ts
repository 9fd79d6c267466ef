/**
 * Names of the public GGUF dialects with `general.architecture` = `zaya`, which are told apart by their
 * tensors only.
 * - `half-layers`: llama.cpp PR 23112. Two GGUF blocks per block of the model, attention in the even and MoE
 *   in the odd one, a residual scaling at the entry of each and one more without a block;
 *   https://github.com/ggml-org/llama.cpp/pull/23112
 * - `half-layers-cca`: the first version of that port, kept in forks of it (llama-yggdrasil): the same
 *   half-layers, the depthwise convolution and the first parts of the router under names of their own, the
 *   router's width in no key.
 * - `blocks`: 1bit-MONSTER's continuation. One GGUF block per block of the model, scalings at the exits, the
 *   grouped convolution tap-major.
 */

import { requiredTensors } from '../runtime/weights.js';
import type { ZayaConfig } from './config.js';

/** See the file's comment. */
export type GgufDialect = 'half-layers' | 'half-layers-cca' | 'blocks';

/** Names that the dialects share, after the block's prefix. */
const ATTENTION: Readonly<Record<string, string>> = {
  'input_layernorm.weight': 'attn_norm.weight',
  'self_attn.qkv_proj.q_proj': 'attn_q',
  'self_attn.qkv_proj.k_proj': 'attn_k',
  'self_attn.qkv_proj.v_proj_current': 'cca_val_proj1',
  'self_attn.qkv_proj.v_proj_delayed': 'cca_val_proj2',
  'self_attn.qkv_proj.conv_qk_depthwise': 'ssm_conv1d',
  'self_attn.qkv_proj.conv_qk_grouped': 'cca_conv_grp',
  'self_attn.qk_norm.temp': 'cca_k_scale.weight',
  'self_attn.o_proj': 'attn_output',
};

const MOE: Readonly<Record<string, string>> = {
  'mlp.gate.down_proj': 'ffn_gate_inp',
  'mlp.gate.router_states_scale': 'zaya_router_eda.weight',
  'mlp.gate.router_mlp.norm': 'ffn_norm',
  'mlp.gate.router_mlp.fc1': 'ffn_gate',
  'mlp.gate.router_mlp.fc2': 'zaya_router_mlp2',
  'mlp.gate.router_mlp.out_proj': 'zaya_router_mlp4',
  'mlp.gate.balancing_biases': 'zaya_router_biases.weight',
  'mlp.experts.gate_up_proj': 'ffn_gate_up_exps.weight',
  'mlp.experts.down_proj': 'ffn_down_exps.weight',
};

/** What `half-layers-cca` calls otherwise. */
const CCA_NAMES: Readonly<Record<string, string>> = {
  ssm_conv1d: 'cca_conv_dw',
  ffn_gate_inp: 'zaya_router_down',
  ffn_norm: 'zaya_router_norm',
  ffn_gate: 'zaya_router_mlp0',
};

const SCALES: Readonly<Record<string, readonly [stem: string, leaf: string]>> = {
  hidden_states_scale: ['res_scale_hs', 'weight'],
  hidden_states_bias: ['res_scale_hs', 'bias'],
  residual_scale: ['res_scale_res', 'weight'],
  residual_bias: ['res_scale_res', 'bias'],
};

/**
 * For every tensor that `config` needs, in the transformers layout's names: its names in a GGUF file of the
 * dialect. The first is the one that the dialect's own converter writes, others are spellings of its forks.
 */
export function ggufNames(config: ZayaConfig, dialect: GgufDialect): Map<string, readonly string[]> {
  const translate = dialect === 'blocks' ? blockNames : halfLayerNames;
  return new Map(
    requiredTensors(config).map(({ name }) => {
      const block = /^model\.layers\.(\d+)\.(.+)$/.exec(name);
      if (block === null) return [name, [modelName(name, dialect)]];
      const names = translate(Number(block[1]), block[2]!, config.num_hidden_layers);
      return [name, dialect === 'half-layers-cca' ? names.map(ccaName) : names];
    }),
  );
}

function ccaName(name: string): string {
  return name.replace(
    /^(blk\.\d+\.)(\w+)/,
    (_, prefix: string, stem: string) => prefix + (CCA_NAMES[stem] ?? stem),
  );
}

function modelName(native: string, dialect: GgufDialect): string {
  const input = dialect === 'blocks' ? 'input_hidden_states_scale' : 'blk.0.res_scale_hs';
  switch (native) {
    case 'model.embed_tokens.weight':
      return 'token_embd.weight';
    case 'model.input_hidden_states_scale':
      return `${input}.weight`;
    case 'model.input_hidden_states_bias':
      return `${input}.bias`;
    case 'model.norm.weight':
      return 'output_norm.weight';
    default:
      return native.replace('lm_head', 'output');
  }
}

function blockNames(block: number, suffix: string): string[] {
  const scale = scaleOf(suffix);
  const prefix = `blk.${block}.`;
  if (suffix === 'post_attention_layernorm.weight')
    return ['post_attention_norm', 'post_attn_norm', 'attn_norm_2'].map((stem) => `${prefix}${stem}.weight`);
  if (scale === undefined) return [prefix + shared(suffix)];
  const { stem, leaf } = scale;
  if (scale.isAfterAttention) return [`${prefix}${stem}.${leaf}`];
  return [`${prefix}${stem}.mlp.${leaf}`, `${prefix}${stem}_mlp.${leaf}`];
}

function halfLayerNames(block: number, suffix: string, blocks: number): string[] {
  const attention = 2 * block;
  const scale = scaleOf(suffix);
  if (suffix === 'post_attention_layernorm.weight') return [`blk.${attention + 1}.attn_norm.weight`];
  if (scale !== undefined) {
    // The scaling at the exit of a sub-block is the one at the entry of the next half-layer; the last has no
    // block.
    const next = attention + (scale.isAfterAttention ? 1 : 2);
    return [`${next === 2 * blocks ? '' : `blk.${next}.`}${scale.stem}.${scale.leaf}`];
  }
  return [`blk.${suffix.startsWith('mlp.') ? attention + 1 : attention}.${shared(suffix)}`];
}

function scaleOf(suffix: string): { stem: string; leaf: string; isAfterAttention: boolean } | undefined {
  const match = /^post_(attention|mlp)_residual_scale\.(.+)$/.exec(suffix);
  if (match === null) return undefined;
  const [stem, leaf] = SCALES[match[2]!]!;
  return { stem, leaf, isAfterAttention: match[1] === 'attention' };
}

/** Either the whole name is listed, or its module, to which `.weight` or `.bias` is added. */
function shared(suffix: string): string {
  const module = suffix.replace(/\.(weight|bias)$/, '');
  const listed = ATTENTION[suffix] ?? MOE[suffix];
  return listed ?? `${ATTENTION[module] ?? MOE[module]}${suffix.slice(module.length)}`;
}
