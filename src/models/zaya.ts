/**
 * The ZAYA1 graph, in the order and with the names of the reference:
 * https://github.com/huggingface/transformers/blob/v5.18.0/src/transformers/models/zaya/modeling_zaya.py
 * Compressed Convolutional Attention: arXiv 2510.04476; the model: arXiv 2605.05365.
 *
 * Deviations: inputs of skipped tokens are zeroed before the experts (the reference does not run an expert on them), so that their `experts:*` values are 0.
 * Axes in trailing comments: B sequences of T tokens, N = B·T rows, S visible tokens, H hidden, nq/nk query/KV heads, g = nq/nk, d head_dim, C = (nq + nk)·d, L rows of convolution
 * state, R router, E experts, F intermediate, V vocabulary. Values of tokens are rows [N, ..]; values of a step are [B, ..].
 */
import { attentionOutput, attentionWeights, transposedValues } from '../graph/attention.js';
import { conv1dDepthwise, conv1dGrouped } from '../graph/convolution.js';
import type { Graph } from '../graph/graph.js';
import { add, gelu, geluErf, mul, scale, sub, swiglu } from '../graph/ops-arithmetic.js';
import {
  cast,
  concat,
  cont,
  copyInto,
  getRows,
  permute,
  reshape,
  setRows,
  slice,
  splitAxis,
} from '../graph/ops-layout.js';
import { mulMat, mulMatId } from '../graph/ops-products.js';
import { argmax, argsort, l2Norm, mean, rmsNorm, softMax } from '../graph/ops-rows.js';
import type { Policy } from '../graph/policy.js';
import { ropeFromTables } from '../graph/rotary.js';
import type { Tensor } from '../graph/tensor.js';
import { type Taps, tap, tapAs, tapParts } from './tap.js';
import { convStateLength, rotaryDim, type ZayaConfig } from './zaya-config.js';

/** What the model file needs from around it. Weight names are those of the checkpoint. */
export interface ZayaContext {
  graph: Graph;
  config: ZayaConfig;
  policy: Policy;
  taps: Taps;
  /** Sequences in the batch, B; all have the same number of tokens. */
  batch: number;
  /** A weight by its full name; throws `MISSING_TENSOR`. */
  weight(name: string): Tensor;
  /** True if the checkpoint has the weight. */
  hasWeight(name: string): boolean;
  /** A value that outlives the segment: `hidden` F32 [N, H], `router` F32 [N, R]. */
  state(name: 'hidden' | 'router'): Tensor;
  /** A value that depends on the run but not on the weights. */
  constant(name: ZayaConstant): Tensor;
  /** F32 [N, 1], 0 for padding and 1 for tokens; absent where nothing is padded. */
  padding: Tensor | undefined;
  /** What a block remembers of the tokens before: `conv_state` F32 [B, L, C] raw q‖k rows, `delayed_state` F32 [B, 1, nk·d/2]. */
  history(layer: number, name: 'conv_state' | 'delayed_state'): Tensor;
  /** Absent in a run that starts and ends with this call. */
  cache: ZayaCacheView | undefined;
}

/**
 * - `mask` F32 [T, S] or [B, 1, T, S], `cos` and `sin` F32 [N, 1, d]: for the layer type of the block at hand
 * - `expert_ids` I32 [E + 1, 1]: the expert to run for a router class, 0 for the skip class; `expert_keep` F32 [E + 1, 1]: 1 for experts, 0 for the skip class
 */
export type ZayaConstant = 'mask' | 'cos' | 'sin' | 'expert_ids' | 'expert_keep';

/** The KV cache as a run sees it. */
export interface ZayaCacheView {
  /** Cached positions that the run reads, from 0; those not written yet are masked. */
  span: number;
  /** [B, capacity, nk·d] in the policy's dtype. */
  keys(layer: number): Tensor;
  /** [B, nk·d, capacity] in the policy's dtype: transposed, as attention reads it. */
  values(layer: number): Tensor;
  /** I32 [N]: row of the keys, of B·capacity, that a token goes to. */
  keyRows: Tensor;
  /** I32 [N·nk·d]: element of the values, of B·nk·d·capacity, that an element of a token goes to. */
  valueElements: Tensor;
}

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

  tapAs(suffix: string, value: Tensor, shown: (x: Tensor) => Tensor, back: (x: Tensor) => Tensor): Tensor {
    return tapAs(this.context.graph, this.context.taps, this.#join(suffix), value, shown, back);
  }

  tapParts(value: Tensor, axis: number, parts: readonly (readonly [string, number, number[]])[]): Tensor {
    const named = parts.map(([suffix, count, shape]) => [this.#join(suffix), count, shape] as const);
    return tapParts(this.context.graph, this.context.taps, value, axis, named);
  }

  /** Shows a value that nothing in the graph goes on from. */
  show(suffix: string, make: () => Tensor): void {
    if (this.context.taps.wants(this.#join(suffix))) this.tap(suffix, make());
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

function zayaCCAProjection(
  m: Module,
  input: Tensor,
  layer: number,
): { query: Tensor; key: Tensor; value: Tensor } {
  const { config, policy, graph, batch: B, padding, cache } = m.context;
  const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d, cca_time1 } = config;
  const N = input.shape[0]!;
  const T = N / B;
  const g = nq / nk;
  const C = (nq + nk) * d;
  const L = convStateLength(config);
  const hidden_states = padding === undefined ? input : mul(input, padding); //                       N, H

  const projected_queries = m.linear('q_proj', hidden_states); //                                     N, nq·d
  const projected_keys = m.linear('k_proj', hidden_states); //                                        N, nk·d
  const qk_states = m.tap(':conv_input', concat(projected_queries, projected_keys, -1)); //           N, C

  const grouped_queries = reshape(projected_queries, [N, nk, g, d]);
  const grouped_keys = reshape(projected_keys, [N, nk, 1, d]);
  const means = scale(add(grouped_queries, grouped_keys), 0.5); //                                    N, nk, g, d
  const query_residual = m.tap(':query_residual', reshape(means, [N, nq, d])); //                     N, nq, d
  const by_group = cont(permute(reshape(query_residual, [N, nk, g, d]), [0, 1, 3, 2])); //            N, nk, d, g
  const key_residual = m.tap(':key_residual', reshape(mean(by_group), [N, nk, d])); //                N, nk, d

  let series = reshape(qk_states, [B, T, C]);
  if (L > 0) {
    const conv_state = m.context.history(layer, 'conv_state'); //                                     B, L, C
    series = concat(conv_state, series, 1); //                                                        B, L + T, C
    if (cache !== undefined) {
      const latest = slice(series, 1, T, T + L); //                                                   B, L, C
      m.show(':conv_state', () => cont(permute(latest, [0, 2, 1]))); //                               B, C, L
      copyInto(latest, conv_state);
    }
  }
  graph.scope(`${m.path}.conv_qk_depthwise`);
  const depthwise = m.tapParts(
    conv1dDepthwise(series, m.weight('conv_qk_depthwise.weight'), m.weight('conv_qk_depthwise.bias')),
    1,
    [
      ['.conv_qk_depthwise:lead', cca_time1 - 1, [B, cca_time1 - 1, C]],
      ['.conv_qk_depthwise', T, [N, C]],
    ],
  ); //                                                                                               B, k1 − 1 + T, C
  graph.scope(`${m.path}.conv_qk_grouped`);
  const convolved = conv1dGrouped(
    depthwise,
    m.weight('conv_qk_grouped.weight'),
    m.weight('conv_qk_grouped.bias'),
    {
      groups: nq + nk,
      im2col: policy.im2col,
    },
  );
  const conv = m.tap('.conv_qk_grouped', reshape(convolved, [N, C])); //                              N, C

  graph.scope(m.path);
  const query = m.tap(':query', add(splitAxis(slice(conv, 1, 0, nq * d), 1, nq), query_residual)); // N, nq, d
  const key = m.tap(':key', add(splitAxis(slice(conv, 1, nq * d, C), 1, nk), key_residual)); //       N, nk, d

  const value_current = m.linear('v_proj_current', hidden_states); //                                 N, nk·d/2
  const delayed_v_state = m.linear('v_proj_delayed', hidden_states); //                               N, nk·d/2
  const half = (nk * d) / 2;
  const delayed = reshape(delayed_v_state, [B, T, half]);
  const recurrent_v_state = m.context.history(layer, 'delayed_state'); //                             B, 1, nk·d/2
  const shifted = T === 1 ? recurrent_v_state : concat(recurrent_v_state, slice(delayed, 1, 0, T - 1), 1);
  const value_delayed = m.tap(':value_delayed', reshape(shifted, [N, half])); //                      N, nk·d/2
  const value = m.tap(':value', reshape(concat(value_current, value_delayed, -1), [N, nk, d])); //    N, nk, d
  if (cache !== undefined) {
    const latest = slice(delayed, 1, T - 1, T); //                                                    B, 1, nk·d/2
    m.show(':delayed_state', () => reshape(cont(latest), [B, half])); //                              B, nk·d/2
    copyInto(latest, recurrent_v_state);
  }
  return { query, key, value };
}

function zayaQKNorm(m: Module, query_states: Tensor, key_states: Tensor): { query: Tensor; key: Tensor } {
  const { head_dim } = m.context.config;
  const norm_eps = 2 ** -23; // torch.finfo(torch.float32).eps
  const normalise = (x: Tensor) => scale(l2Norm(x, norm_eps), Math.sqrt(head_dim));
  const temp = m.weight('temp');
  const query = m.tap(':query', normalise(query_states)); //                                          N, nq, d
  const key = m.tap(':key', mul(normalise(key_states), reshape(temp, [temp.shape[0]!, 1]))); //       N, nk, d
  return { query, key };
}

/** Keys [B, S, nk, d] and transposed values [B, nk, d, S] that the tokens of this call attend to, in the dtype of the KV cache. */
function updateCache(
  m: Module,
  layer: number,
  key_states: Tensor,
  value_states: Tensor,
): { keys: Tensor; values: Tensor } {
  const { batch: B, cache, policy } = m.context;
  const [N, nk, d] = key_states.shape as [number, number, number];
  if (cache === undefined) {
    const split = (x: Tensor) => reshape(x, [B, N / B, nk, d]);
    return {
      keys: cast(split(key_states), policy.kvCache),
      values: cast(transposedValues(split(value_states)), policy.kvCache),
    };
  }
  const [k_cache, v_cache] = [cache.keys(layer), cache.values(layer)];
  const capacity = k_cache.shape[1]!;
  const rows = reshape(k_cache, [B * capacity, nk * d]);
  const elements = reshape(v_cache, [B * nk * d * capacity, 1]);
  const k_written = setRows(rows, reshape(key_states, [N, nk * d]), cache.keyRows);
  const v_written = setRows(elements, reshape(value_states, [N * nk * d, 1]), cache.valueElements);
  const keys = slice(reshape(k_written, [B, capacity, nk, d]), 1, 0, cache.span); //                  B, S, nk, d
  const values = slice(reshape(v_written, [B, nk, d, capacity]), 3, 0, cache.span); //                B, nk, d, S
  m.show(':k_cache', () => cast(cont(keys), 'F32')); //                                               B, S, nk, d
  m.show(':v_cache', () => cast(cont(permute(values, [0, 3, 1, 2])), 'F32')); //                      B, S, nk, d
  return { keys, values };
}

function zayaAttention(m: Module, hidden_states: Tensor, layer: number): Tensor {
  const { config, batch: B } = m.context;
  const { num_attention_heads: nq, head_dim: d } = config;
  const N = hidden_states.shape[0]!;
  const T = N / B;
  const projected = zayaCCAProjection(m.child('qkv_proj'), hidden_states, layer);
  const normed = zayaQKNorm(m.child('qk_norm'), projected.query, projected.key);

  m.context.graph.scope(m.path);
  const [cos, sin] = [m.context.constant('cos'), m.context.constant('sin')];
  const dims = rotaryDim(config, config.layer_types[layer]!);
  const query_states = m.tap(':query_rope', ropeFromTables(normed.query, cos, sin, dims)); //         N, nq, d
  const key_states = m.tap(':key_rope', ropeFromTables(normed.key, cos, sin, dims)); //               N, nk, d
  const { keys, values } = updateCache(m, layer, key_states, projected.value);

  const queries = reshape(query_states, [B, T, nq, d]);
  const probabilities = attentionWeights(queries, keys, m.context.constant('mask'), 1 / Math.sqrt(d));
  const S = probabilities.shape[3]!;
  const attn_weights = m.tapAs(
    ':attn_weights',
    probabilities,
    (x) => reshape(cont(permute(x, [0, 2, 1, 3])), [N, nq, S]),
    (x) => cont(permute(reshape(x, [B, T, nq, S]), [0, 2, 1, 3])),
  ); //                                                                                               B, nq, T, S (named N, nq, S)
  const mixed = attentionOutput(attn_weights, values); //                                             B, T, nq·d
  const attn_output = m.tap(':attn_output', reshape(mixed, [N, nq * d])); //                          N, nq·d
  return m.linear('o_proj', attn_output); //                                                          N, H
}

function zayaResidualScaling(m: Module, hidden_states: Tensor, residual: Tensor): Tensor {
  const branch = (x: Tensor, name: string) =>
    m.tap(`:${name}`, mul(add(x, m.weight(`${name}_bias`)), m.weight(`${name}_scale`)));
  return add(branch(hidden_states, 'hidden_states'), branch(residual, 'residual')); //                N, H
}

function zayaRouterMLP(m: Module, hidden_states: Tensor): Tensor {
  const act_fn = m.context.policy.gelu === 'erf' ? geluErf : gelu;
  const normed = zayaRMSNorm(m, 'norm', hidden_states); //                                            N, R
  const act1 = m.tap(':act1', act_fn(m.linear('fc1', normed))); //                                    N, R
  const act2 = m.tap(':act2', act_fn(m.linear('fc2', act1))); //                                      N, R
  return m.linear('out_proj', act2); //                                                               N, E + 1
}

interface Routing {
  /** I32 [N]: expert to run; 0 for skipped tokens. */
  ids: Tensor;
  /** F32 [N, 1]: 1, or 0 for skipped tokens. */
  keep: Tensor;
  /** F32 [N]: probability of the chosen expert; 0 for skipped tokens. */
  weight: Tensor;
  /** F32 [N, R]: carried to the next block. */
  router_hidden_states: Tensor;
}

function zayaRouter(m: Module, hidden_states: Tensor, router_states: Tensor | undefined): Routing {
  const N = hidden_states.shape[0]!;
  const classes = m.context.config.num_experts + 1;
  const down = m.linear('down_proj', hidden_states); //                                               N, R
  const eda =
    router_states === undefined ? down : add(down, mul(router_states, m.weight('router_states_scale')));
  const router_hidden_states = m.tap(':router_hidden_states', eda); //                                N, R
  const router_logits = zayaRouterMLP(m.child('router_mlp'), router_hidden_states); //                N, E + 1

  m.context.graph.scope(m.path);
  const router_probs = m.tap(':router_probs', softMax(router_logits)); //                             N, E + 1
  const biased = m.tap(':biased_router_probs', add(router_probs, m.weight('balancing_biases'))); //   N, E + 1
  const expert = m.tap(':expert', argmax(biased)); //                                                 N
  const ids = reshape(getRows(m.context.constant('expert_ids'), expert), [N]); //                     N
  const keep = getRows(m.context.constant('expert_keep'), expert); //                                 N, 1
  const chosen = getRows(reshape(router_probs, [N, classes, 1]), reshape(expert, [N, 1])); //         N, 1, 1
  const weight = m.tap(':expert_weight', mul(reshape(chosen, [N]), reshape(keep, [N]))); //           N
  m.show(':margin', () => {
    const best_two = slice(argsort(biased, 'descending'), 1, 0, 2); //                                N, 2
    const values = getRows(reshape(biased, [N, classes, 1]), best_two); //                            N, 2, 1
    return reshape(sub(slice(values, 1, 0, 1), slice(values, 1, 1, 2)), [N]); //                      N
  });
  return { ids, keep, weight, router_hidden_states };
}

function zayaExperts(m: Module, hidden_states: Tensor, { ids, keep, weight }: Routing): Tensor {
  const N = hidden_states.shape[0]!;
  const current_state = mul(hidden_states, keep); //                                                  N, H
  const gate_up = m.tap(':gate_up', mulMatId(m.weight('gate_up_proj'), current_state, ids)); //       N, 2F
  const activated = m.tap(':activated', swiglu(gate_up)); //                                          N, F
  const down = m.tap(':down', mulMatId(m.weight('down_proj'), activated, ids)); //                    N, H
  return m.tap('', mul(down, reshape(weight, [N, 1]))); //                                            N, H
}

function zayaSparseMoeBlock(m: Module, hidden_states: Tensor, router_states: Tensor | undefined) {
  const routing = zayaRouter(m.child('gate'), hidden_states, router_states);
  const output = zayaExperts(m.child('experts'), hidden_states, routing);
  return { output, router_hidden_states: routing.router_hidden_states };
}

/** One block: reads and replaces the states `hidden` [N, H] and `router` [N, R]. */
export function zayaDecoderLayer(context: ZayaContext, layer: number): void {
  const m = new Module(context, `layers.${layer}`);
  const residual = context.state('hidden'); //                                                        N, H
  const attn_input = zayaRMSNorm(m, 'input_layernorm', residual);
  const attn_output = zayaAttention(m.child('self_attn'), attn_input, layer);
  const attn_scale = m.child('post_attention_residual_scale');
  const attn_residual = attn_scale.tap('', zayaResidualScaling(attn_scale, attn_output, residual)); // N, H
  const mlp_input = zayaRMSNorm(m, 'post_attention_layernorm', attn_residual);
  const router_states = layer === 0 ? undefined : context.state('router'); //                         N, R
  const mlp = zayaSparseMoeBlock(m.child('mlp'), mlp_input, router_states);
  const mlp_scale = m.child('post_mlp_residual_scale');
  const output = m.tap('', zayaResidualScaling(mlp_scale, mlp.output, attn_residual)); //             N, H
  copyInto(output, context.state('hidden'));
  if (layer + 1 < context.config.num_hidden_layers)
    copyInto(mlp.router_hidden_states, context.state('router'));
}

/** Embedding and input affine: `tokens` I32 [N] becomes the state `hidden` [N, H]. */
export function zayaEmbedding(context: ZayaContext, tokens: Tensor): void {
  const m = new Module(context, '');
  const inputs_embeds = m.tap('.embed_tokens', getRows(m.weight('embed_tokens.weight'), tokens)); //  N, H
  const shifted = add(inputs_embeds, m.weight('input_hidden_states_bias'));
  const hidden_states = m.tap('.input_affine', mul(shifted, m.weight('input_hidden_states_scale'))); // N, H
  copyInto(hidden_states, context.state('hidden'));
}

/** Final norm and language-model head of the state `hidden`: logits F32 [rows, V] of the rows that `rows` picks from [N, H]. */
export function zayaHead(context: ZayaContext, rows: (hidden_states: Tensor) => Tensor): Tensor {
  const m = new Module(context, '');
  const hidden_states = rows(zayaRMSNorm(m, 'norm', context.state('hidden'))); //                     rows, H
  const tied = !context.hasWeight('lm_head.weight');
  const logits = mulMat(m.weight(tied ? 'embed_tokens.weight' : 'lm_head.weight'), hidden_states);
  const bias = m.optionalWeight('lm_head.bias');
  return m.tap('.lm_head', bias === undefined ? logits : add(logits, bias)); //                       rows, V
}
