/**
 * The graphs of Qwen3 and Qwen3-MoE, in the order and with the names of the reference:
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/qwen3_moe/modeling_qwen3_moe.py
 *
 * Axes in trailing comments: B sequences of T tokens, N = B·T rows, H hidden, nq/nk query/KV heads, d
 * head_dim, I intermediate of a dense block, E experts, k of them a token, F their intermediate, V
 * vocabulary. The experts' gate and up projections are two stacks here, as checkpoints store them; in memory
 * the reference joins them.
 */

import { add, div, mul, silu, sub } from '../../graph/ops-arithmetic.js';
import { cont, copyInto, getRows, permute, reshape, slice, splitAxis } from '../../graph/ops-layout.js';
import { mulMat, mulMatId } from '../../graph/ops-products.js';
import { argsort, rmsNorm, softMax, sumRows } from '../../graph/ops-rows.js';
import type { Tensor } from '../../graph/tensor.js';
import { rotaryAttention } from '../runtime/attention.js';
import { type ModelContext, Module as ModelModule } from '../runtime/module.js';
import { hasExperts, type Qwen3Config } from './config.js';

type Module = ModelModule<Qwen3Config>;
type Context = ModelContext<Qwen3Config>;

function qwen3RMSNorm(parent: Module, name: string, x: Tensor, axes: string): Tensor {
  const normalised = parent.round(`.${name}:normalised`, rmsNorm(x, parent.context.config.rms_norm_eps));
  return parent.tap(`.${name}`, mul(normalised, parent.vector(`${name}.weight`, x.shape.at(-1)!)), axes);
}

function qwen3Attention(m: Module, hidden_states: Tensor, layer: number): Tensor {
  const { attention_bias, num_attention_heads: nq, num_key_value_heads: nk, head_dim: d } = m.context.config;
  const q = splitAxis(m.linear('q_proj', hidden_states, 'T,nq*d', attention_bias), 1, nq); //           N, nq, d
  const query_states = qwen3RMSNorm(m, 'q_norm', q, 'T,nq,d'); //                                     N, nq, d
  const k = splitAxis(m.linear('k_proj', hidden_states, 'T,nk*d', attention_bias), 1, nk); //           N, nk, d
  const key_states = qwen3RMSNorm(m, 'k_norm', k, 'T,nk,d'); //                                       N, nk, d
  const value_states = splitAxis(m.linear('v_proj', hidden_states, 'T,nk*d', attention_bias), 1, nk); // N, nk, d
  const attn_output = rotaryAttention(m, layer, d, query_states, key_states, value_states); //        N, nq·d
  return m.linear('o_proj', attn_output, 'T,H', attention_bias); //                                   N, H
}

function qwen3MLP(m: Module, x: Tensor): Tensor {
  const gate = m.linear('gate_proj', x, 'T,I', false); //                                             N, I
  const up = m.linear('up_proj', x, 'T,I', false); //                                                 N, I
  return m.linear('down_proj', activated(m, gate, up, 'T,I'), 'T,H', false); //                       N, H
}

function activated(m: Module, gate: Tensor, up: Tensor, axes: string): Tensor {
  return m.tap(':activated', mul(m.round(':gate_activated', silu(gate)), up), axes);
}

interface Routing {
  /** I32 [N, k]: the token's experts, the likeliest first. */
  expert: Tensor;
  /** F32 [N, k]. */
  weight: Tensor;
}

function qwen3TopKRouter(m: Module, router_logits: Tensor): Routing {
  const { num_experts: E, num_experts_per_tok: K, norm_topk_prob } = m.context.config;
  const N = router_logits.shape[0]!;
  const router_probs = m.tap(':router_probs', softMax(router_logits), 'T,E'); //                      N, E
  const table = reshape(router_probs, [N, E, 1]); //                                                  N, E, 1
  const order = argsort(router_probs, 'descending'); //                                               N, E
  const expert = m.tap(':expert', cont(slice(order, 1, 0, K)), 'T,k'); //                             N, k
  const chosen = reshape(getRows(table, expert), [N, K]); //                                          N, k
  const weight = m.tap(':expert_weight', norm_topk_prob ? div(chosen, sumRows(chosen)) : chosen, 'T,k'); // N, k
  if (K < E)
    m.show(':margin', 'T', () => {
      const last_and_next = getRows(table, slice(order, 1, K - 1, K + 1)); //                         N, 2, 1
      return reshape(sub(slice(last_and_next, 1, 0, 1), slice(last_and_next, 1, 1, 2)), [N]); //      N
    });
  return { expert, weight };
}

function qwen3Experts(m: Module, hidden_states: Tensor, { expert, weight }: Routing): Tensor {
  const {
    num_experts: E,
    num_experts_per_tok: K,
    hidden_size: H,
    moe_intermediate_size: F,
  } = m.context.config;
  const N = hidden_states.shape[0]!;
  const product = (name: string, x: Tensor, rows: number) => {
    const matrix = m.matrix(name, E, rows, x.shape.at(-1)!);
    return mulMatId(matrix, m.operand(`.${name}#weight`, x, matrix.dtype), expert);
  };
  const gate = m.tap(':gate', product('gate_proj', hidden_states, F), 'T,k,F'); //                    N, k, F
  const up = m.tap(':up', product('up_proj', hidden_states, F), 'T,k,F'); //                          N, k, F
  const activations = activated(m, gate, up, 'T,k,F'); //                                             N, k, F
  const down = m.tap(':down', product('down_proj', activations, H), 'T,k,H'); //                      N, k, H
  const weighted = m.round(':weighted', mul(down, reshape(weight, [N, K, 1]))); //                    N, k, H
  const sum = sumRows(cont(permute(weighted, [0, 2, 1]))); //                                         N, H, 1
  return m.tap('', reshape(sum, [N, H]), 'T,H'); //                                                   N, H
}

function qwen3SparseMoeBlock(m: Module, hidden_states: Tensor): Tensor {
  const router_logits = m.linear('gate', hidden_states, 'T,E', false); //                             N, E
  return qwen3Experts(m.child('experts'), hidden_states, qwen3TopKRouter(m.child('gate'), router_logits));
}

/** One block: reads and replaces the state `hidden` [N, H]. */
export function qwen3DecoderLayer(context: Context, layer: number): void {
  const m: Module = new ModelModule(context, `layers.${layer}`);
  const residual = context.state('hidden'); //                                                        N, H
  const attn_input = qwen3RMSNorm(m, 'input_layernorm', residual, 'T,H');
  const attn_output = qwen3Attention(m.child('self_attn'), attn_input, layer);
  const attn_residual = m.tap(':residual', add(residual, attn_output), 'T,H'); //                     N, H
  const mlp_input = qwen3RMSNorm(m, 'post_attention_layernorm', attn_residual, 'T,H');
  const mlp = (hasExperts(context.config, layer) ? qwen3SparseMoeBlock : qwen3MLP)(m.child('mlp'), mlp_input);
  copyInto(m.tap('', add(attn_residual, mlp), 'T,H'), context.state('hidden'));
}

/** `tokens` I32 [N] becomes the state `hidden` [N, H]. */
export function qwen3Embedding(context: Context, tokens: Tensor): void {
  const m: Module = new ModelModule(context, '');
  const { vocab_size: V, hidden_size: H } = context.config;
  const inputs_embeds = getRows(m.embedding('embed_tokens.weight', V, H), tokens); //                 N, H
  copyInto(m.tap('.embed_tokens', inputs_embeds, 'T,H'), context.state('hidden'));
}

/** Final norm and language-model head: logits F32 [rows, V] of the rows that `rows` picks from [N, H]. */
export function qwen3Head(context: Context, rows: (hidden_states: Tensor) => Tensor): Tensor {
  const m: Module = new ModelModule(context, '');
  const { vocab_size: V, hidden_size: H } = context.config;
  const hidden_states = rows(qwen3RMSNorm(m, 'norm', context.state('hidden'), 'T,H')); //             rows, H
  const head = context.hasHead ? m.matrix('lm_head.weight', V, H) : m.embedding('embed_tokens.weight', V, H);
  const input = m.operand('.lm_head#weight', hidden_states, head.dtype); //                           rows, H
  return m.tap('.lm_head', mulMat(head, input), 'T,V'); //                                    rows, V
}
