/**
 * The ZAYA1 graph, in the order and with the names of the reference:
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/zaya/modeling_zaya.py
 * Compressed Convolutional Attention: arXiv 2510.04476; the model: arXiv 2605.05365.
 *
 * Deviations: inputs of skipped tokens are zeroed before the experts (the reference does not run an expert on them), so that their `experts:*` values are 0.
 * Axes in trailing comments: T tokens, S visible tokens, H hidden, nq/nk query/KV heads, g = nq/nk, d head_dim, C = (nq + nk)·d, R router, E experts, F intermediate, V vocabulary.
 */
import { attentionOutput, attentionWeights } from '../graph/attention.js';
import { conv1dDepthwise, conv1dGrouped } from '../graph/convolution.js';
import type { Graph } from '../graph/graph.js';
import { add, gelu, geluErf, mul, scale, sub, swiglu } from '../graph/ops-arithmetic.js';
import { concat, cont, copyInto, getRows, permute, reshape, slice, splitAxis } from '../graph/ops-layout.js';
import { mulMat, mulMatId } from '../graph/ops-products.js';
import { argmax, argsort, l2Norm, mean, rmsNorm, softMax } from '../graph/ops-rows.js';
import type { Policy } from '../graph/policy.js';
import { ropeFromTables } from '../graph/rotary.js';
import type { Tensor } from '../graph/tensor.js';
import { type Taps, tap, tapPermuted, tapRows } from './tap.js';
import { convStateLength, rotaryDim, type ZayaConfig } from './zaya-config.js';

/** What the model file needs from around it. Weight names are those of the checkpoint; constants are made by the plan. */
export interface ZayaContext {
  graph: Graph;
  config: ZayaConfig;
  policy: Policy;
  taps: Taps;
  /** A weight by its full name; throws `MISSING_TENSOR`. */
  weight(name: string): Tensor;
  /** True if the checkpoint has the weight. */
  hasWeight(name: string): boolean;
  /** A value that outlives the segment. */
  state(name: 'hidden' | 'router'): Tensor;
  /** A value that the plan provides. */
  constant(name: ZayaConstant): Tensor;
}

/**
 * Values that depend on a run's sizes but not on its tokens:
 * - `conv_state` F32 [conv state length, C], `delayed_state` F32 [1, nk·d/2]: what came before the first token (zeros; `delayed_state` without the bias of its projection)
 * - `mask` F32 [T, S], `cos` and `sin` F32 [T, 1, d]: for the layer type of the block at hand
 * - `expert_ids` I32 [E + 1, 1]: the expert to run for a router class, 0 for the skip class; `expert_keep` F32 [E + 1, 1]: 1 for experts, 0 for the skip class
 */
export type ZayaConstant =
  | 'conv_state'
  | 'delayed_state'
  | 'mask'
  | 'cos'
  | 'sin'
  | 'expert_ids'
  | 'expert_keep';

/** A module of the reference: its path is the prefix of its weights and taps. */
class Module {
  readonly context: ZayaContext;
  readonly path: string;

  constructor(context: ZayaContext, path: string) {
    this.context = context;
    this.path = path;
    context.graph.scope(path);
  }

  child(name: string): Module {
    return new Module(this.context, this.#join(`.${name}`));
  }

  weight(name: string): Tensor {
    return this.context.weight(this.#weightName(name));
  }

  optionalWeight(name: string): Tensor | undefined {
    return this.context.hasWeight(this.#weightName(name)) ? this.weight(name) : undefined;
  }

  /** `suffix`: '' for the module's output, `.child` for a child's, `:value` for a value inside it. */
  tap(suffix: string, value: Tensor): Tensor {
    return tap(this.context.graph, this.context.taps, this.#join(suffix), value);
  }

  tapPermuted(suffix: string, value: Tensor, order: readonly number[]): Tensor {
    return tapPermuted(this.context.graph, this.context.taps, this.#join(suffix), value, order);
  }

  tapRows(value: Tensor, rows: readonly (readonly [string, number])[]): Tensor {
    const named = rows.map(([suffix, count]) => [this.#join(suffix), count] as const);
    return tapRows(this.context.graph, this.context.taps, value, named);
  }

  wants(suffix: string): boolean {
    return this.context.taps.wants(this.#join(suffix));
  }

  linear(name: string, x: Tensor): Tensor {
    const product = mulMat(this.weight(`${name}.weight`), x);
    const bias = this.optionalWeight(`${name}.bias`);
    return this.tap(`.${name}`, bias === undefined ? product : add(product, bias));
  }

  #join(suffix: string): string {
    return this.path === '' ? suffix.replace(/^\./, '') : this.path + suffix;
  }

  #weightName(name: string): string {
    return name.startsWith('lm_head.') ? name : `model.${this.#join(`.${name}`)}`;
  }
}

function zayaRMSNorm(parent: Module, name: string, x: Tensor): Tensor {
  const normalised = rmsNorm(x, parent.context.config.rms_norm_eps);
  return parent.tap(`.${name}`, mul(normalised, parent.weight(`${name}.weight`)));
}

function zayaCCAProjection(m: Module, hidden_states: Tensor): { query: Tensor; key: Tensor; value: Tensor } {
  const { config, policy, graph } = m.context;
  const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d, cca_time1 } = config;
  const T = hidden_states.shape[0]!;
  const g = nq / nk;

  const projected_queries = m.linear('q_proj', hidden_states); //                                     T, nq·d
  const projected_keys = m.linear('k_proj', hidden_states); //                                        T, nk·d
  const qk_states = m.tap(':conv_input', concat(projected_queries, projected_keys, -1)); //           T, C

  const grouped_queries = reshape(projected_queries, [T, nk, g, d]);
  const grouped_keys = reshape(projected_keys, [T, nk, 1, d]);
  const means = scale(add(grouped_queries, grouped_keys), 0.5); //                                    T, nk, g, d
  const query_residual = m.tap(':query_residual', reshape(means, [T, nq, d])); //                     T, nq, d
  const by_group = cont(permute(reshape(query_residual, [T, nk, g, d]), [0, 1, 3, 2])); //            T, nk, d, g
  const key_residual = m.tap(':key_residual', reshape(mean(by_group), [T, nk, d])); //                T, nk, d

  const conv_input =
    convStateLength(config) === 0 ? qk_states : concat(m.context.constant('conv_state'), qk_states, 0); // T + k − 2, C
  graph.scope(`${m.path}.conv_qk_depthwise`);
  const depthwise = m.tapRows(
    conv1dDepthwise(conv_input, m.weight('conv_qk_depthwise.weight'), m.weight('conv_qk_depthwise.bias')),
    [
      ['.conv_qk_depthwise:lead', cca_time1 - 1],
      ['.conv_qk_depthwise', T],
    ],
  ); //                                                                                               T + k1 − 1, C
  graph.scope(`${m.path}.conv_qk_grouped`);
  const conv = m.tap(
    '.conv_qk_grouped',
    conv1dGrouped(depthwise, m.weight('conv_qk_grouped.weight'), m.weight('conv_qk_grouped.bias'), {
      groups: nq + nk,
      im2col: policy.im2col,
    }),
  ); //                                                                                               T, C

  graph.scope(m.path);
  const query = m.tap(':query', add(splitAxis(slice(conv, 1, 0, nq * d), 1, nq), query_residual)); // T, nq, d
  const conv_keys = slice(conv, 1, nq * d, (nq + nk) * d);
  const key = m.tap(':key', add(splitAxis(conv_keys, 1, nk), key_residual)); //                       T, nk, d

  const value_current = m.linear('v_proj_current', hidden_states); //                                 T, nk·d/2
  const delayed_v_state = m.linear('v_proj_delayed', hidden_states); //                               T, nk·d/2
  const bias = m.optionalWeight('v_proj_delayed.bias');
  const initial = m.context.constant('delayed_state');
  const recurrent_v_state = bias === undefined ? initial : add(initial, bias); //                     1, nk·d/2
  const value_delayed = m.tap(
    ':value_delayed',
    T === 1 ? recurrent_v_state : concat(recurrent_v_state, slice(delayed_v_state, 0, 0, T - 1), 0),
  ); //                                                                                               T, nk·d/2
  const value = m.tap(':value', reshape(concat(value_current, value_delayed, -1), [T, nk, d])); //    T, nk, d
  return { query, key, value };
}

function zayaQKNorm(m: Module, query_states: Tensor, key_states: Tensor): { query: Tensor; key: Tensor } {
  const { head_dim } = m.context.config;
  const norm_eps = 2 ** -23; // torch.finfo(torch.float32).eps
  const normalise = (x: Tensor) => scale(l2Norm(x, norm_eps), Math.sqrt(head_dim));
  const temp = m.weight('temp');
  const query = m.tap(':query', normalise(query_states)); //                                          T, nq, d
  const key = m.tap(':key', mul(normalise(key_states), reshape(temp, [temp.shape[0]!, 1]))); //       T, nk, d
  return { query, key };
}

function zayaAttention(m: Module, hidden_states: Tensor, layer: number): Tensor {
  const { config } = m.context;
  const projected = zayaCCAProjection(m.child('qkv_proj'), hidden_states);
  const normed = zayaQKNorm(m.child('qk_norm'), projected.query, projected.key);

  m.context.graph.scope(m.path);
  const [cos, sin] = [m.context.constant('cos'), m.context.constant('sin')];
  const dims = rotaryDim(config, config.layer_types[layer]!);
  const query_states = m.tap(':query_rope', ropeFromTables(normed.query, cos, sin, dims)); //         T, nq, d
  const key_states = m.tap(':key_rope', ropeFromTables(normed.key, cos, sin, dims)); //               T, nk, d

  const scaling = 1 / Math.sqrt(config.head_dim);
  const probabilities = attentionWeights(query_states, key_states, m.context.constant('mask'), scaling);
  const attn_weights = m.tapPermuted(':attn_weights', probabilities, [1, 0, 2]); //                   nq, T, S (named T, nq, S)
  const attn_output = m.tap(':attn_output', attentionOutput(attn_weights, projected.value)); //       T, nq·d
  return m.linear('o_proj', attn_output); //                                                          T, H
}

function zayaResidualScaling(m: Module, hidden_states: Tensor, residual: Tensor): Tensor {
  const branch = (x: Tensor, name: string) =>
    m.tap(`:${name}`, mul(add(x, m.weight(`${name}_bias`)), m.weight(`${name}_scale`)));
  return add(branch(hidden_states, 'hidden_states'), branch(residual, 'residual')); //                T, H
}

function zayaRouterMLP(m: Module, hidden_states: Tensor): Tensor {
  const act_fn = m.context.policy.gelu === 'erf' ? geluErf : gelu;
  const normed = zayaRMSNorm(m, 'norm', hidden_states); //                                            T, R
  const act1 = m.tap(':act1', act_fn(m.linear('fc1', normed))); //                                    T, R
  const act2 = m.tap(':act2', act_fn(m.linear('fc2', act1))); //                                      T, R
  return m.linear('out_proj', act2); //                                                               T, E + 1
}

interface Routing {
  /** I32 [T]: expert to run; 0 for skipped tokens. */
  ids: Tensor;
  /** F32 [T, 1]: 1, or 0 for skipped tokens. */
  keep: Tensor;
  /** F32 [T]: probability of the chosen expert; 0 for skipped tokens. */
  weight: Tensor;
  /** F32 [T, R]: carried to the next block. */
  router_hidden_states: Tensor;
}

function zayaRouter(m: Module, hidden_states: Tensor, router_states: Tensor | undefined): Routing {
  const T = hidden_states.shape[0]!;
  const classes = m.context.config.num_experts + 1;
  const down = m.linear('down_proj', hidden_states); //                                               T, R
  const eda =
    router_states === undefined ? down : add(down, mul(router_states, m.weight('router_states_scale')));
  const router_hidden_states = m.tap(':router_hidden_states', eda); //                                T, R
  const router_logits = zayaRouterMLP(m.child('router_mlp'), router_hidden_states); //                T, E + 1

  m.context.graph.scope(m.path);
  const router_probs = m.tap(':router_probs', softMax(router_logits)); //                             T, E + 1
  const biased = m.tap(':biased_router_probs', add(router_probs, m.weight('balancing_biases'))); //   T, E + 1
  const expert = m.tap(':expert', argmax(biased)); //                                                 T
  const ids = reshape(getRows(m.context.constant('expert_ids'), expert), [T]); //                     T
  const keep = getRows(m.context.constant('expert_keep'), expert); //                                 T, 1
  const chosen = getRows(reshape(router_probs, [T, classes, 1]), reshape(expert, [T, 1])); //         T, 1, 1
  const weight = m.tap(':expert_weight', mul(reshape(chosen, [T]), reshape(keep, [T]))); //           T
  if (m.wants(':margin')) {
    const best_two = slice(argsort(biased, 'descending'), 1, 0, 2); //                                T, 2
    const values = getRows(reshape(biased, [T, classes, 1]), best_two); //                            T, 2, 1
    m.tap(':margin', reshape(sub(slice(values, 1, 0, 1), slice(values, 1, 1, 2)), [T])); //           T
  }
  return { ids, keep, weight, router_hidden_states };
}

function zayaExperts(m: Module, hidden_states: Tensor, { ids, keep, weight }: Routing): Tensor {
  const T = hidden_states.shape[0]!;
  const current_state = mul(hidden_states, keep); //                                                  T, H
  const gate_up = m.tap(':gate_up', mulMatId(m.weight('gate_up_proj'), current_state, ids)); //       T, 2F
  const activated = m.tap(':activated', swiglu(gate_up)); //                                          T, F
  const down = m.tap(':down', mulMatId(m.weight('down_proj'), activated, ids)); //                    T, H
  return m.tap('', mul(down, reshape(weight, [T, 1]))); //                                            T, H
}

function zayaSparseMoeBlock(m: Module, hidden_states: Tensor, router_states: Tensor | undefined) {
  const routing = zayaRouter(m.child('gate'), hidden_states, router_states);
  const output = zayaExperts(m.child('experts'), hidden_states, routing);
  return { output, router_hidden_states: routing.router_hidden_states };
}

/** One block: reads and replaces the states `hidden` [T, H] and `router` [T, R]. */
export function zayaDecoderLayer(context: ZayaContext, layer: number): void {
  const m = new Module(context, `layers.${layer}`);
  const residual = context.state('hidden'); //                                                        T, H
  const attn_input = zayaRMSNorm(m, 'input_layernorm', residual);
  const attn_output = zayaAttention(m.child('self_attn'), attn_input, layer);
  const attn_scale = m.child('post_attention_residual_scale');
  const attn_residual = attn_scale.tap('', zayaResidualScaling(attn_scale, attn_output, residual)); // T, H
  const mlp_input = zayaRMSNorm(m, 'post_attention_layernorm', attn_residual);
  const router_states = layer === 0 ? undefined : context.state('router'); //                         T, R
  const mlp = zayaSparseMoeBlock(m.child('mlp'), mlp_input, router_states);
  const mlp_scale = m.child('post_mlp_residual_scale');
  const output = m.tap('', zayaResidualScaling(mlp_scale, mlp.output, attn_residual)); //             T, H
  copyInto(output, context.state('hidden'));
  if (layer + 1 < context.config.num_hidden_layers)
    copyInto(mlp.router_hidden_states, context.state('router'));
}

/** Embedding and input affine: `tokens` I32 [T] becomes the state `hidden` [T, H]. */
export function zayaEmbedding(context: ZayaContext, tokens: Tensor): void {
  const m = new Module(context, '');
  const inputs_embeds = m.tap('.embed_tokens', getRows(m.weight('embed_tokens.weight'), tokens)); //  T, H
  const shifted = add(inputs_embeds, m.weight('input_hidden_states_bias'));
  const hidden_states = m.tap('.input_affine', mul(shifted, m.weight('input_hidden_states_scale'))); // T, H
  copyInto(hidden_states, context.state('hidden'));
}

/** Final norm and language-model head of the state `hidden`: logits F32 [T, V]. */
export function zayaHead(context: ZayaContext): Tensor {
  const m = new Module(context, '');
  const hidden_states = zayaRMSNorm(m, 'norm', context.state('hidden')); //                           T, H
  const tied = !m.context.hasWeight('lm_head.weight');
  const logits = mulMat(m.weight(tied ? 'embed_tokens.weight' : 'lm_head.weight'), hidden_states);
  const bias = m.optionalWeight('lm_head.bias');
  return m.tap('.lm_head', bias === undefined ? logits : add(logits, bias)); //                       T, V
}
