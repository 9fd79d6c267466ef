/**
 * Which value of llama.cpp's graphs is which module output of transformers, by hand: from llama.cpp's model
 * files (`src/models`, `src/llama-graph.cpp`) and transformers' `modeling_*.py`. `{l}` is a block.
 *
 * On the right the name that llama.cpp gives the node; `weight:NAME` where it gives none: the node that
 * reads that weight or bias, of an op where one is named before it.
 */

/** Reference's tap and the tested value, as patterns. */
export type Truth = readonly (readonly [tap: string, value: string])[];

const L = 'model.layers.{l}';
const ATTENTION = `${L}.self_attn`;

const ENDS: Truth = [
  ['model.embed_tokens', 'embd'],
  ['model.norm', 'result_norm'],
  ['model.last_hidden_state', 'result_norm'],
  ['lm_head', 'result_output'],
  ['return.logits', 'result_output'],
];

const QKV: Truth = [
  [`${ATTENTION}.q_proj`, 'Qcur-{l}'],
  [`${ATTENTION}.k_proj`, 'Kcur-{l}'],
  [`${ATTENTION}.v_proj`, 'Vcur-{l}'],
];

const QK_NORM: Truth = [
  [`${ATTENTION}.q_norm`, 'Qcur_normed-{l}'],
  [`${ATTENTION}.k_norm`, 'Kcur_normed-{l}'],
];

const OUT: Truth = [
  [`${ATTENTION}.1`, 'kq_soft_max-{l}'],
  [`${ATTENTION}.o_proj`, 'weight:blk.{l}.attn_output.weight'],
  [`${ATTENTION}.0`, 'weight:blk.{l}.attn_output.weight'],
  [L, 'l_out-{l}'],
];

const NORMS: Truth = [
  [`${L}.input_layernorm`, 'attn_norm-{l}'],
  [`${L}.post_attention_layernorm`, 'ffn_norm-{l}'],
];

const MLP: Truth = [
  [`${L}.mlp.gate_proj`, 'ffn_gate-{l}'],
  [`${L}.mlp.up_proj`, 'ffn_up-{l}'],
  [`${L}.mlp.down_proj`, 'ffn_out-{l}'],
  [`${L}.mlp`, 'ffn_out-{l}'],
];

const DENSE: Truth = [...ENDS, ...NORMS, ...QKV, ...OUT, ...MLP];

/**
 * By family of `families.py`. What is not listed has no value of its own in the graph: tables of sines, the
 * activation alone (part of `SWIGLU`), the tokens of one expert, DeepSeek's keys and values in full (its
 * attention stays in the latent space) and its experts in no order (llama.cpp sorts them).
 */
export const TRUTH: Readonly<Record<string, Truth>> = {
  llama: DENSE,
  qwen2: [...ENDS, ...NORMS, ...OUT, ...MLP, ...biased(QKV)],
  qwen3: [...DENSE, ...QK_NORM],
  qwen3moe: [
    ...ENDS,
    ...NORMS,
    ...QKV,
    ...QK_NORM,
    ...OUT,
    [`${L}.mlp.gate.0`, 'ffn_moe_logits-{l}'],
    [`${L}.mlp.gate.1`, 'ffn_moe_weights_norm-{l}'],
    [`${L}.mlp.gate.2`, 'ffn_moe_argsort-{l}'],
    [`${L}.mlp.experts`, 'ffn_moe_out-{l}'],
    [`${L}.mlp`, 'ffn_moe_out-{l}'],
  ],
  gemma3: [
    ...ENDS.slice(1),
    ...QKV,
    ...QK_NORM,
    ...OUT,
    ...MLP,
    ['model.embed_tokens', 'inp_scaled'],
    [`${L}.input_layernorm`, 'attn_norm-{l}'],
    [`${L}.post_attention_layernorm`, 'attn_post_norm-{l}'],
    [`${L}.pre_feedforward_layernorm`, 'ffn_norm-{l}'],
    [`${L}.post_feedforward_layernorm`, 'ffn_post_norm-{l}'],
  ],
  gpt2: [
    ['transformer.wte', 'embd'],
    ['transformer.wpe', 'pos_embd'],
    ['transformer.drop', 'inpL'],
    ['transformer.h.{l}.ln_1', 'attn_norm-{l}'],
    ['transformer.h.{l}.attn.c_attn', 'weight:blk.{l}.attn_qkv.bias'],
    ['transformer.h.{l}.attn.1', 'kq_soft_max-{l}'],
    ['transformer.h.{l}.attn.c_proj', 'weight:blk.{l}.attn_output.bias'],
    ['transformer.h.{l}.attn.resid_dropout', 'weight:blk.{l}.attn_output.bias'],
    ['transformer.h.{l}.attn.0', 'weight:blk.{l}.attn_output.bias'],
    ['transformer.h.{l}.ln_2', 'ffn_norm-{l}'],
    ['transformer.h.{l}.mlp.c_fc', 'weight:blk.{l}.ffn_up.bias'],
    ['transformer.h.{l}.mlp.act', 'ffn_gelu-{l}'],
    ['transformer.h.{l}.mlp.c_proj', 'ffn_out-{l}'],
    ['transformer.h.{l}.mlp.dropout', 'ffn_out-{l}'],
    ['transformer.h.{l}.mlp', 'ffn_out-{l}'],
    ['transformer.h.{l}', 'l_out-{l}'],
    ['transformer.ln_f', 'result_norm'],
    ['transformer.last_hidden_state', 'result_norm'],
    ['lm_head', 'result_output'],
    ['return.logits', 'result_output'],
  ],
  phi3: [
    ...ENDS,
    ...NORMS,
    ...OUT,
    [`${ATTENTION}.qkv_proj`, 'weight:blk.{l}.attn_qkv.weight'],
    [`${L}.resid_attn_dropout`, 'weight:blk.{l}.attn_output.weight'],
    [`${L}.mlp.gate_up_proj`, 'ffn_up-{l}'],
    [`${L}.mlp.down_proj`, 'ffn_out-{l}'],
    [`${L}.mlp`, 'ffn_out-{l}'],
    [`${L}.resid_mlp_dropout`, 'ffn_out-{l}'],
  ],
  olmo2: [
    ...ENDS,
    ...QKV,
    ...QK_NORM,
    ...OUT,
    ...MLP,
    [`${L}.post_attention_layernorm`, 'attn_post_norm-{l}'],
    [`${L}.post_feedforward_layernorm`, 'weight:blk.{l}.post_ffw_norm.weight'],
  ],
  starcoder2: [
    ...ENDS,
    ...NORMS,
    ...biased(QKV),
    [`${ATTENTION}.1`, 'kq_soft_max-{l}'],
    [`${ATTENTION}.o_proj`, 'weight:blk.{l}.attn_output.bias'],
    [`${ATTENTION}.0`, 'weight:blk.{l}.attn_output.bias'],
    [`${L}.mlp.c_fc`, 'weight:blk.{l}.ffn_up.bias'],
    [`${L}.mlp.act`, 'ffn_gelu-{l}'],
    [`${L}.mlp.c_proj`, 'ffn_out-{l}'],
    [`${L}.mlp`, 'ffn_out-{l}'],
    [L, 'l_out-{l}'],
  ],
  mamba2: [
    ['backbone.embeddings', 'embd'],
    ['backbone.layers.{l}.norm', 'attn_norm-{l}'],
    ['backbone.layers.{l}.mixer.in_proj', 'weight:blk.{l}.ssm_in.weight'],
    ['backbone.layers.{l}.mixer.norm', 'weight:blk.{l}.ssm_norm.weight'],
    ['backbone.layers.{l}.mixer.out_proj', 'mamba_out-{l}'],
    ['backbone.layers.{l}.mixer', 'mamba_out-{l}'],
    ['backbone.layers.{l}', 'l_out-{l}'],
    ['backbone.norm_f', 'result_norm'],
    ['backbone.last_hidden_state', 'result_norm'],
    ['lm_head', 'result_output'],
    ['return.logits', 'result_output'],
  ],
  deepseek2: [
    ...ENDS,
    ...NORMS,
    ...OUT,
    ...MLP,
    [`${ATTENTION}.q_a_proj`, 'weight:blk.{l}.attn_q_a.weight'],
    [`${ATTENTION}.q_a_layernorm`, 'weight:blk.{l}.attn_q_a_norm.weight'],
    [`${ATTENTION}.q_b_proj`, 'weight:blk.{l}.attn_q_b.weight'],
    [`${ATTENTION}.kv_a_proj_with_mqa`, 'kv_cmpr_pe-{l}'],
    [`${ATTENTION}.kv_a_layernorm`, 'kv_cmpr-{l}'],
    [`${L}.mlp.gate.0`, 'ffn_moe_logits-{l}'],
    [`${L}.mlp.experts`, 'ffn_moe_out-{l}'],
    [`${L}.mlp.shared_experts.gate_proj`, 'ffn_gate-{l}'],
    [`${L}.mlp.shared_experts.up_proj`, 'ffn_up-{l}'],
    [`${L}.mlp.shared_experts.down_proj`, 'ffn_shexp-{l}'],
    [`${L}.mlp.shared_experts`, 'ffn_shexp-{l}'],
  ],
  lfm2: [
    ['model.embed_tokens', 'weight:token_embd.weight'],
    [`${L}.operator_norm`, 'weight:blk.{l}.attn_norm.weight'],
    [`${L}.conv.in_proj`, 'weight:blk.{l}.shortconv.in_proj.weight'],
    [`${L}.conv.out_proj`, 'weight:blk.{l}.shortconv.out_proj.weight'],
    [`${L}.conv`, 'weight:blk.{l}.shortconv.out_proj.weight'],
    ...QKV,
    [`${ATTENTION}.q_layernorm`, 'weight:blk.{l}.attn_q_norm.weight'],
    [`${ATTENTION}.k_layernorm`, 'weight:blk.{l}.attn_k_norm.weight'],
    [`${ATTENTION}.1`, 'kq_soft_max-{l}'],
    [`${ATTENTION}.out_proj`, 'weight:blk.{l}.attn_output.weight'],
    [`${ATTENTION}.0`, 'weight:blk.{l}.attn_output.weight'],
    [`${L}.ffn_norm`, 'weight:blk.{l}.ffn_norm.weight'],
    [`${L}.feed_forward.w1`, 'ffn_gate-{l}'],
    [`${L}.feed_forward.w3`, 'ffn_up-{l}'],
    [`${L}.feed_forward.w2`, 'weight:blk.{l}.ffn_down.weight'],
    [`${L}.feed_forward`, 'weight:blk.{l}.ffn_down.weight'],
    [L, 'l_out-{l}'],
    ['model.embedding_norm', 'result_norm'],
    ...ENDS.slice(2),
  ],
  granite: [
    ...DENSE.filter(([tap]) => !['model.embed_tokens', 'lm_head'].includes(tap)),
    ['model.embed_tokens', 'weight:token_embd.weight'],
    ['lm_head', 'weight:output.weight'],
  ],
};

const NEOX = 'gpt_neox.layers.{l}';

/** Families on which no rule was made. */
const OTHERS: Readonly<Record<string, Truth>> = {
  gemma2: [
    ...ENDS.slice(1, 3),
    ...QKV,
    ...OUT,
    ...MLP,
    ['model.embed_tokens', 'inp_scaled'],
    [`${L}.input_layernorm`, 'attn_norm-{l}'],
    [`${L}.post_attention_layernorm`, 'attn_post_norm-{l}'],
    [`${L}.pre_feedforward_layernorm`, 'ffn_norm-{l}'],
    [`${L}.post_feedforward_layernorm`, 'weight:blk.{l}.post_ffw_norm.weight'],
    ['lm_head', 'MUL_MAT weight:token_embd.weight'],
    ['return.logits', 'result_output'],
  ],
  glm4: [
    ...ENDS,
    ...biased(QKV),
    ...OUT,
    [`${L}.input_layernorm`, 'attn_norm-{l}'],
    [`${L}.post_self_attn_layernorm`, 'post_attn_norm-{l}'],
    [`${L}.post_attention_layernorm`, 'ffn_norm-{l}'],
    [`${L}.mlp.gate_up_proj`, 'ffn_up-{l}'],
    [`${L}.mlp.down_proj`, 'ffn_out-{l}'],
    [`${L}.mlp`, 'ffn_out-{l}'],
    [`${L}.post_mlp_layernorm`, 'post_mlp_norm-{l}'],
  ],
  cohere2: [
    ...ENDS.filter(([tap]) => tap !== 'lm_head'),
    ['lm_head', 'MUL_MAT weight:token_embd.weight'],
    [`${L}.input_layernorm`, 'attn_norm-{l}'],
    ...QKV,
    ...OUT,
    ...MLP,
  ],
  stablelm: [...DENSE, [`${L}.dropout`, 'ffn_out-{l}']],
  exaone4: [
    ...ENDS,
    ...QKV,
    ...QK_NORM,
    ...OUT,
    ...MLP,
    [`${L}.post_attention_layernorm`, 'attn_post_norm-{l}'],
    [`${L}.post_feedforward_layernorm`, 'weight:blk.{l}.post_ffw_norm.weight'],
  ],
  gptneox: [
    ['gpt_neox.embed_in', 'embd'],
    ['gpt_neox.emb_dropout', 'embd'],
    [`${NEOX}.input_layernorm`, 'attn_norm-{l}'],
    [`${NEOX}.attention.query_key_value`, 'weight:blk.{l}.attn_qkv.bias'],
    [`${NEOX}.attention.1`, 'kq_soft_max-{l}'],
    [`${NEOX}.attention.dense`, 'weight:blk.{l}.attn_output.bias'],
    [`${NEOX}.attention.0`, 'weight:blk.{l}.attn_output.bias'],
    [`${NEOX}.post_attention_dropout`, 'weight:blk.{l}.attn_output.bias'],
    [`${NEOX}.post_attention_layernorm`, 'ffn_norm-{l}'],
    [`${NEOX}.mlp.dense_h_to_4h`, 'weight:blk.{l}.ffn_up.bias'],
    [`${NEOX}.mlp.act`, 'ffn_gelu-{l}'],
    [`${NEOX}.mlp.dense_4h_to_h`, 'weight:blk.{l}.ffn_down.bias'],
    [`${NEOX}.mlp`, 'weight:blk.{l}.ffn_down.bias'],
    [`${NEOX}.post_mlp_dropout`, 'weight:blk.{l}.ffn_down.bias'],
    [NEOX, 'l_out-{l}'],
    ['gpt_neox.final_layer_norm', 'result_norm'],
    ['gpt_neox.last_hidden_state', 'result_norm'],
    ...ENDS.slice(3),
  ],
  olmoe: [
    ...ENDS,
    ...NORMS,
    ...QKV,
    ...QK_NORM,
    ...OUT,
    [`${L}.mlp.gate.0`, 'ffn_moe_logits-{l}'],
    [`${L}.mlp.gate.1`, 'ffn_moe_weights-{l}'],
    [`${L}.mlp.gate.2`, 'ffn_moe_argsort-{l}'],
    [`${L}.mlp.experts`, 'ffn_moe_out-{l}'],
    [`${L}.mlp`, 'ffn_moe_out-{l}'],
  ],
};

/** Families that were run only when the rules of `align` stood. */
export const HELD_OUT = Object.keys(OTHERS);
/** Of all families. */
export const ALL_TRUTH: typeof TRUTH = { ...TRUTH, ...OTHERS };

/** The second of the name, with the bias added. */
function biased(truth: Truth): Truth {
  return truth.map(([tap, value]) => [tap, `${value}#2`]);
}
