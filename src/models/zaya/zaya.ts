/**
 * The ZAYA1 graph, in the order and with the names of the reference:
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/zaya/modeling_zaya.py
 * Compressed Convolutional Attention: arXiv 2510.04476; the model: arXiv 2605.05365.
 *
 * Deviations: inputs of skipped tokens are zeroed before the experts (the reference does not run an expert on
 * them), so that their `experts:*` values are 0. Axes in trailing comments: B sequences of T tokens, N = B·T
 * rows, S visible tokens, H hidden, nq/nk query/KV heads, g = nq/nk, d head_dim, C = (nq + nk)·d, L rows of
 * convolution state, R router, E experts, F intermediate, V vocabulary. Values of tokens are rows [N, ..];
 * values of a step are [B, ..]. Beside a tap stand the axes that dumps name, T first for values of tokens;
 * `trace.ts` reads taps, edges, policy sites and weights off this file.
 */

import { conv1dDepthwise, conv1dGrouped } from '../../graph/convolution.js';
import {
  add,
  clamp,
  div,
  gelu,
  geluErf,
  mul,
  scale,
  silu,
  sqrt,
  sub,
  swiglu,
} from '../../graph/ops-arithmetic.js';
import {
  concat,
  cont,
  copyInto,
  getRows,
  permute,
  reshape,
  slice,
  splitAxis,
} from '../../graph/ops-layout.js';
import { mulMat, mulMatId } from '../../graph/ops-products.js';
import { argmax, argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from '../../graph/ops-rows.js';
import type { Tensor } from '../../graph/tensor.js';
import { rotaryAttention } from '../runtime/attention.js';
import { type ModelContext, Module as ModelModule } from '../runtime/module.js';
import { convStateLength, rotaryDim, type ZayaConfig } from './config.js';

type Module = ModelModule<ZayaConfig>;

/** `torch.finfo(dtype).eps`. */
const MACHINE_EPSILON = { F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 };

function zayaRMSNorm(parent: Module, name: string, x: Tensor, axes: string): Tensor {
  const input = parent.round(`.${name}:input`, x);
  const normalised = parent.round(`.${name}:normalised`, rmsNorm(input, parent.context.config.rms_norm_eps));
  return parent.tap(`.${name}`, mul(normalised, parent.vector(`${name}.weight`, x.shape.at(-1)!)), axes);
}

function zayaCCAProjection(
  m: Module,
  input: Tensor,
  layer: number,
): { query: Tensor; key: Tensor; value: Tensor } {
  const { config, graph, batch: B, padding, cache } = m.context;
  const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d, cca_time0, cca_time1 } = config;
  const N = input.shape[0]!;
  const T = N / B;
  const g = nq / nk;
  const C = (nq + nk) * d;
  const L = convStateLength(config);
  const hidden_states = padding === undefined ? input : mul(input, padding); //                       N, H

  const projected_queries = m.linear('q_proj', hidden_states, 'T,nq*d', config.attention_bias); //                                     N, nq·d
  const projected_keys = m.linear('k_proj', hidden_states, 'T,nk*d', config.attention_bias); //                                        N, nk·d
  const qk_states = m.tap(':conv_input', concat(projected_queries, projected_keys, -1), 'T,C'); //           N, C

  const grouped_queries = reshape(projected_queries, [N, nk, g, d]);
  const grouped_keys = reshape(projected_keys, [N, nk, 1, d]);
  const sums = m.round(':query_sum', add(grouped_queries, grouped_keys)); //                          N, nk, g, d
  const means = scale(sums, 0.5); //                                                                  N, nk, g, d
  const query_residual = m.tap(':query_residual', reshape(means, [N, nq, d]), 'T,nq,d'); //                     N, nq, d
  const by_group = cont(permute(reshape(query_residual, [N, nk, g, d]), [0, 1, 3, 2])); //            N, nk, d, g
  const key_residual = m.tap(':key_residual', reshape(mean(by_group), [N, nk, d]), 'T,nk,d'); //                N, nk, d

  let series = reshape(qk_states, [B, T, C]);
  if (L > 0) {
    const conv_state = m.context.history(layer, 'conv_state'); //                                     B, L, C
    series = concat(conv_state, series, 1); //                                                        B, L + T, C
    if (cache !== undefined) {
      const latest = slice(series, 1, T, T + L); //                                                   B, L, C
      m.show(':conv_state', 'C,L', () => cont(permute(latest, [0, 2, 1]))); //                               B, C, L
      copyInto(latest, conv_state);
    }
  }
  graph.scope(`${m.path}.conv_qk_depthwise`);
  const dw = m.conv('conv_qk_depthwise.weight', C, 1, cca_time0);
  const db = m.vector('conv_qk_depthwise.bias', C);
  const leads = { axis: 1, lead: cca_time1 - 1 };
  const depthwise = m.tapParts(m.round('.conv_qk_depthwise', conv1dDepthwise(series, dw, db), leads), 1, [
    ['.conv_qk_depthwise:lead', cca_time1 - 1, [B, cca_time1 - 1, C], 'leads,C'],
    ['.conv_qk_depthwise', T, [N, C], 'T,C'],
  ]); //                                                                                               B, k1 − 1 + T, C
  graph.scope(`${m.path}.conv_qk_grouped`);
  const gw = m.conv('conv_qk_grouped.weight', C, d, cca_time1);
  const gb = m.vector('conv_qk_grouped.bias', C);
  const patches = m.setting('.conv_qk_grouped#patches') as 'F32' | 'F16';
  const sampled = m.operand('.conv_qk_grouped#patches', depthwise, patches, leads); //                B, k1 − 1 + T, C
  const convolved = conv1dGrouped(sampled, gw, gb, {
    groups: nq + nk,
    im2col: patches,
    weight: m.setting('.conv_qk_grouped#kernel') as 'F32' | 'F16' | 'BF16',
  }); //                                                                                              B, T, C
  const conv = m.tap('.conv_qk_grouped', reshape(convolved, [N, C]), 'T,C'); //                              N, C

  graph.scope(m.path);
  const query = m.tap(':query', add(splitAxis(slice(conv, 1, 0, nq * d), 1, nq), query_residual), 'T,nq,d'); // N, nq, d
  const key = m.tap(':key', add(splitAxis(slice(conv, 1, nq * d, C), 1, nk), key_residual), 'T,nk,d'); //       N, nk, d

  const value_current = m.linear('v_proj_current', hidden_states, 'T,nk*d/2', config.attention_bias); //                                 N, nk·d/2
  const delayed_v_state = m.linear('v_proj_delayed', hidden_states, 'T,nk*d/2', config.attention_bias); //                               N, nk·d/2
  const half = (nk * d) / 2;
  const delayed = reshape(delayed_v_state, [B, T, half]);
  const recurrent_v_state = m.context.history(layer, 'delayed_state'); //                             B, 1, nk·d/2
  const shifted = T === 1 ? recurrent_v_state : concat(recurrent_v_state, slice(delayed, 1, 0, T - 1), 1);
  const value_delayed = m.tap(':value_delayed', reshape(shifted, [N, half]), 'T,nk*d/2'); //                      N, nk·d/2
  const value = m.tap(':value', reshape(concat(value_current, value_delayed, -1), [N, nk, d]), 'T,nk,d'); //    N, nk, d
  if (cache !== undefined) {
    const latest = slice(delayed, 1, T - 1, T); //                                                    B, 1, nk·d/2
    m.show(':delayed_state', 'nk*d/2', () => reshape(cont(latest), [B, half])); //                              B, nk·d/2
    copyInto(latest, recurrent_v_state);
  }
  return { query, key, value };
}

function zayaQKNorm(m: Module, query_states: Tensor, key_states: Tensor): { query: Tensor; key: Tensor } {
  const head_dim_scale = Math.sqrt(m.context.config.head_dim);
  const norm_eps = MACHINE_EPSILON[m.setting('#eps') as keyof typeof MACHINE_EPSILON];
  const normalise = (x: Tensor, name: string) => {
    if (!m.rounds(`:${name}_norm`, `:${name}_reciprocal`, `:${name}_ratio`))
      return scale(l2Norm(x, norm_eps), head_dim_scale);
    const norm = m.round(`:${name}_norm`, sqrt(sumRows(mul(x, x)))); //                               N, heads, 1
    const reciprocal = m.round(`:${name}_reciprocal`, div(scale(norm, 0, 1), clamp(norm, norm_eps))); // torch divides a number by a tensor so
    return mul(x, m.round(`:${name}_ratio`, scale(reciprocal, head_dim_scale)));
  };
  const temp = m.vector('temp', m.context.config.num_key_value_heads);
  const query = m.tap(':query', normalise(query_states, 'query'), 'T,nq,d'); //                                 N, nq, d
  const key_scaled = m.round(':key_scaled', normalise(key_states, 'key')); //                         N, nk, d
  const key = m.tap(':key', mul(key_scaled, reshape(temp, [temp.shape[0]!, 1])), 'T,nk,d'); //                  N, nk, d
  return { query, key };
}

function zayaAttention(m: Module, hidden_states: Tensor, layer: number): Tensor {
  const { config } = m.context;
  const projected = zayaCCAProjection(m.child('qkv_proj'), hidden_states, layer);
  const normed = zayaQKNorm(m.child('qk_norm'), projected.query, projected.key);

  m.context.graph.scope(m.path);
  const dims = rotaryDim(config, config.layer_types[layer]!);
  const attn_output = rotaryAttention(m, layer, dims, normed.query, normed.key, projected.value); //  N, nq·d
  return m.linear('o_proj', attn_output, 'T,H', config.attention_bias); //                                                          N, H
}

function zayaResidualScaling(m: Module, hidden_states: Tensor, residual: Tensor): Tensor {
  const branch = (x: Tensor, name: string) => {
    const H = x.shape[1]!;
    const scaling = m.vector(`${name}_scale`, H);
    const shifted = m.round(`:${name}_shifted`, add(x, m.vector(`${name}_bias`, H)));
    return m.tap(`:${name}`, mul(shifted, scaling), 'T,H');
  };
  return add(branch(hidden_states, 'hidden_states'), branch(residual, 'residual')); //                N, H
}

function zayaRouterMLP(m: Module, hidden_states: Tensor): Tensor {
  const act_fn = (name: string, x: Tensor) =>
    m.tap(`:${name}`, (m.setting(`:${name}#form`) === 'erf' ? geluErf : gelu)(x), 'T,R');
  const normed = zayaRMSNorm(m, 'norm', hidden_states, 'T,R'); //                                            N, R
  const act1 = act_fn('act1', m.linear('fc1', normed, 'T,R', true)); //                                    N, R
  const act2 = act_fn('act2', m.linear('fc2', act1, 'T,R', true)); //                                      N, R
  return m.linear('out_proj', act2, 'T,E+1', false); //                                                               N, E + 1
}

interface Routing {
  /** I32 [N]: expert to run; 0 for skipped tokens. */
  ids: Tensor;
  /** F32 [N, 1]: 1, or 0 for skipped tokens. */
  keep: Tensor;
  /** F32 [N]: probability of the chosen expert; 0 for skipped tokens. */
  weight: Tensor;
  /**
   * F32 [N, 1]: share of their own value that skipped tokens get, 0 for others; absent where they get
   * nothing.
   */
  passed: Tensor | undefined;
  /** F32 [N, R]: carried to the next block. */
  router_hidden_states: Tensor;
}

function zayaRouter(m: Module, hidden_states: Tensor, router_states: Tensor | undefined): Routing {
  const N = hidden_states.shape[0]!;
  const { router_hidden_size: R, num_experts } = m.context.config;
  const classes = num_experts + 1;
  const skip = m.setting(':expert#skip');
  const down = m.linear('down_proj', hidden_states, 'T,R', true); //                                               N, R
  const eda = () => m.round(':eda_product', mul(router_states!, m.vector('router_states_scale', R)));
  const carried = router_states === undefined ? down : add(down, eda());
  const router_hidden_states = m.tap(':router_hidden_states', carried, 'T,R'); //                                N, R
  const router_logits = zayaRouterMLP(m.child('router_mlp'), router_hidden_states); //                N, E + 1

  m.context.graph.scope(m.path);
  const router_probs = m.tap(':router_probs', softMax(router_logits), 'T,E+1'); //                             N, E + 1
  const biased = m.tap(
    ':biased_router_probs',
    add(router_probs, m.buffer('balancing_biases', classes)),
    'T,E+1',
  ); //   N, E + 1
  const candidates = skip === 'dropped' ? cont(slice(biased, 1, 0, classes - 1)) : biased;
  const expert = m.tap(':expert', argmax(candidates), 'T'); //                                                 N
  const ids = reshape(getRows(m.context.constant('expert_ids'), expert), [N]); //                     N
  const keep = getRows(m.context.constant('expert_keep'), expert); //                                 N, 1
  const chosen = getRows(reshape(router_probs, [N, classes, 1]), reshape(expert, [N, 1])); //         N, 1, 1
  const weight = m.tap(':expert_weight', mul(reshape(chosen, [N]), reshape(keep, [N])), 'T'); //           N
  m.show(':margin', 'T', () => {
    const best_two = slice(argsort(biased, 'descending'), 1, 0, 2); //                                N, 2
    const values = getRows(reshape(biased, [N, classes, 1]), best_two); //                            N, 2, 1
    return reshape(sub(slice(values, 1, 0, 1), slice(values, 1, 1, 2)), [N]); //                      N
  });
  const passed = skip === 'identity' ? mul(reshape(chosen, [N, 1]), scale(keep, -1, 1)) : undefined; // N, 1
  return { ids, keep, weight, passed, router_hidden_states };
}

function zayaExperts(m: Module, hidden_states: Tensor, { ids, keep, weight, passed }: Routing): Tensor {
  const { num_experts: E, hidden_size: H, moe_intermediate_size: F } = m.context.config;
  const N = hidden_states.shape[0]!;
  const current_state = mul(hidden_states, keep); //                                                  N, H
  const gate_up_proj = m.matrix('gate_up_proj', E, 2 * F, H);
  const gate_up_input = m.operand('.gate_up_proj#weight', current_state, gate_up_proj.dtype); //      N, H
  const gate_up = m.tap(':gate_up', mulMatId(gate_up_proj, gate_up_input, ids), 'T,2F'); //           N, 2F
  const activated = m.tap(':activated', gated(m, gate_up), 'T,F'); //                                 N, F
  const down_proj = m.matrix('down_proj', E, H, F);
  const down_input = m.operand('.down_proj#weight', activated, down_proj.dtype); //                   N, F
  const down = m.tap(':down', mulMatId(down_proj, down_input, ids), 'T,H'); //                        N, H
  const output = mul(down, reshape(weight, [N, 1])); //                                               N, H
  return m.tap('', passed === undefined ? output : add(output, mul(hidden_states, passed)), 'T,H');
}

/** `act_fn(gate) · up`: in one op, or in two where the policy rounds between them. */
function gated(m: Module, gate_up: Tensor): Tensor {
  if (!m.rounds(':gate_activated')) return swiglu(gate_up);
  const F = gate_up.shape[1]! / 2;
  const activated = m.round(':gate_activated', silu(cont(slice(gate_up, 1, 0, F))));
  return mul(activated, slice(gate_up, 1, F, 2 * F));
}

function zayaSparseMoeBlock(m: Module, hidden_states: Tensor, router_states: Tensor | undefined) {
  const routing = zayaRouter(m.child('gate'), hidden_states, router_states);
  const output = zayaExperts(m.child('experts'), hidden_states, routing);
  return { output, router_hidden_states: routing.router_hidden_states };
}

/** One block: reads and replaces the states `hidden` [N, H] and `router` [N, R]. */
export function zayaDecoderLayer(context: ModelContext<ZayaConfig>, layer: number): void {
  const m = new ModelModule(context, `layers.${layer}`);
  const residual = context.state('hidden'); //                                                        N, H
  const attn_input = zayaRMSNorm(m, 'input_layernorm', residual, 'T,H');
  const attn_output = zayaAttention(m.child('self_attn'), attn_input, layer);
  const attn_scale = m.child('post_attention_residual_scale');
  const attn_residual = attn_scale.tap('', zayaResidualScaling(attn_scale, attn_output, residual), 'T,H'); //                                                                                               N, H
  const mlp_input = zayaRMSNorm(m, 'post_attention_layernorm', attn_residual, 'T,H');
  const router_states = layer === 0 ? undefined : context.state('router'); //                         N, R
  const mlp = zayaSparseMoeBlock(m.child('mlp'), mlp_input, router_states);
  const mlp_scale = m.child('post_mlp_residual_scale');
  const output = m.tap('', zayaResidualScaling(mlp_scale, mlp.output, attn_residual), 'T,H'); //             N, H
  copyInto(output, context.state('hidden'));
  if (layer + 1 < context.config.num_hidden_layers)
    copyInto(mlp.router_hidden_states, context.state('router'));
}

/** Embedding and input affine: `tokens` I32 [N] becomes the state `hidden` [N, H]. */
export function zayaEmbedding(context: ModelContext<ZayaConfig>, tokens: Tensor): void {
  const m = new ModelModule(context, '');
  const { vocab_size: V, hidden_size: H } = context.config;
  const embedding = m.embedding('embed_tokens.weight', V, H);
  const inputs_embeds = m.tap('.embed_tokens', getRows(embedding, tokens), 'T,H'); //                 N, H
  const scaling = m.vector('input_hidden_states_scale', H);
  const bias = m.vector('input_hidden_states_bias', H);
  const shifted = m.round('.input_affine:shifted', add(inputs_embeds, bias));
  const hidden_states = m.tap('.input_affine', mul(shifted, scaling), 'T,H'); //                      N, H
  copyInto(hidden_states, context.state('hidden'));
}

/**
 * Final norm and language-model head of the state `hidden`: logits F32 [rows, V] of the rows that `rows`
 * picks from [N, H].
 */
export function zayaHead(context: ModelContext<ZayaConfig>, rows: (hidden_states: Tensor) => Tensor): Tensor {
  const m = new ModelModule(context, '');
  const { vocab_size: V, hidden_size: H, lm_head_bias } = context.config;
  const hidden_states = rows(zayaRMSNorm(m, 'norm', context.state('hidden'), 'T,H')); //              rows, H
  const head = context.hasHead ? m.matrix('lm_head.weight', V, H) : m.embedding('embed_tokens.weight', V, H);
  const logits = mulMat(head, m.operand('.lm_head#weight', hidden_states, head.dtype));
  const biased = lm_head_bias ? add(logits, m.vector('lm_head.bias', V)) : logits;
  return m.tap('.lm_head', biased, 'T,V'); //                                                         rows, V
}
