import type { Family } from './family.js';
import { QWEN3 } from './qwen3.js';
import { tapNames } from './tap-names.js';
import { ZAYA } from './zaya.js';
import { ZAYA_LLAMACPP, ZAYA_LLAMACPP_BLOCKS } from './zaya-llamacpp.js';
import { ZAYA_VLLM } from './zaya-vllm.js';

/** All families. The first is what dumps are taken for that do not say what they are of. */
export const FAMILIES: readonly Family[] = [ZAYA, QWEN3];

/** Maps of other programs' names to their taps, by name (`src/dump/names/name-map.ts`). */
export const FAMILY_MAPS = {
  zaya: tapNames('zaya', { model: ['embed_tokens', 'input_affine', 'norm'], head: ['lm_head'] }, [
    '.self_attn.qkv_proj.conv_qk_depthwise:lead',
    '.self_attn.qkv_proj:conv_state',
    '.self_attn.qkv_proj:delayed_state',
    '.self_attn:k_cache',
    '.self_attn:v_cache',
  ]),
  qwen3: tapNames('qwen3', { model: ['embed_tokens', 'norm'], head: ['lm_head'] }, [
    '.self_attn:k_cache',
    '.self_attn:v_cache',
  ]),
  llamacpp: ZAYA_LLAMACPP,
  'llamacpp-blocks': ZAYA_LLAMACPP_BLOCKS,
  vllm: ZAYA_VLLM,
};

/** The family of a `model.type`; undefined for others. */
export function findFamily(type: string | undefined): Family | undefined {
  return FAMILIES.find(({ types }) => type !== undefined && types.includes(type));
}
