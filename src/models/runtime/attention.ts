/**
 * Rotary attention over a KV cache, which families share: what a module `self_attn` does between its
 * projections.
 */

import type { Dtype } from '../../dtype.js';
import { attentionOutput, attentionScores, transposedValues } from '../../graph/attention.js';
import { scale } from '../../graph/ops-arithmetic.js';
import { cast, cont, permute, reshape, setRows, slice } from '../../graph/ops-layout.js';
import { softMax } from '../../graph/ops-rows.js';
import { ropeFromTables } from '../../graph/rotary.js';
import type { Tensor } from '../../graph/tensor.js';
import type { ModelConfig } from './architecture.js';
import type { Module } from './module.js';

/**
 * Rotates queries [N, nq, d] and keys [N, nk, d], puts keys and values [N, nk, d] into the cache, and gives
 * the weighted values [N, nq·d]. Axes as in the model files: B sequences of T tokens, N = B·T rows, S visible
 * positions, nq/nk query/KV heads of d.
 * @param dims leading dimensions of each head that are rotated.
 */
export function rotaryAttention<C extends ModelConfig>(
  m: Module<C>,
  layer: number,
  dims: number,
  query: Tensor,
  key: Tensor,
  value: Tensor,
): Tensor {
  const { config, batch: B } = m.context;
  const { num_attention_heads: nq, head_dim: d } = config;
  const N = query.shape[0]!;
  const T = N / B;
  const isProduct = m.setting(':rope#angles') === 'product';
  const cos = m.round(':cos', m.context.constant(isProduct ? 'cos_product' : 'cos')); //                 N, 1, d
  const sin = m.round(':sin', m.context.constant(isProduct ? 'sin_product' : 'sin')); //                 N, 1, d
  const rotate = (x: Tensor, name: string, axes: string) =>
    m.tap(
      `:${name}_rope`,
      ropeFromTables(x, cos, sin, dims, (part, product) => m.round(`:${name}_${part}`, product)),
      axes,
    );
  const query_states = rotate(query, 'query', 'T,nq,d'); //                                              N, nq, d
  const key_states = rotate(key, 'key', 'T,nk,d'); //                                                    N, nk, d
  const { keys, values } = updateCache(m, layer, key_states, value);

  const queries = reshape(m.operand(':k_cache#dtype:query', query_states, keys.dtype), [B, T, nq, d]);
  const [scaling, mask] = [1 / Math.sqrt(d), m.context.constant('mask')];
  const scores = attentionScores(queries, keys); //                                                   B, nq, T, S
  const apart = m.rounds(':scores', ':scaled_scores');
  const probabilities = apart
    ? softMax(
        m.round(':scaled_scores', scale(m.round(':scores', scores, QUERIES), scaling), QUERIES),
        1,
        mask,
      )
    : softMax(scores, scaling, mask);
  const S = probabilities.shape[3]!;
  const attn_weights = m.tapAs(
    ':attn_weights',
    m.round(':attn_weights', probabilities, QUERIES),
    'T,nq,S',
    (x) => reshape(cont(permute(x, [0, 2, 1, 3])), [N, nq, S]),
    (x) => cont(permute(reshape(x, [B, T, nq, S]), [0, 2, 1, 3])),
  ); //                                                                                               B, nq, T, S (named N, nq, S)
  const weights = m.operand(':v_cache#dtype:weights', attn_weights, values.dtype, QUERIES); //        B, nq, T, S
  const mixed = attentionOutput(weights, values); //                                                  B, T, nq·d
  return m.tap(':attn_output', reshape(mixed, [N, nq * d]), 'T,nq*d'); //                          N, nq·d
}

/** The tokens of [B, nq, T, S]. */
const QUERIES = { axis: 2 };

/**
 * Keys [B, S, nk, d] and transposed values [B, nk, d, S] that the tokens of this call attend to, in the dtype
 * of the KV cache.
 */
function updateCache<C extends ModelConfig>(
  m: Module<C>,
  layer: number,
  key: Tensor,
  value: Tensor,
): { keys: Tensor; values: Tensor } {
  const { batch: B, cache } = m.context;
  const [N, nk, d] = key.shape as [number, number, number];
  if (cache === undefined) {
    const split = (x: Tensor) => reshape(x, [B, N / B, nk, d]);
    const [k, v] = [m.setting(':k_cache#dtype') as Dtype, m.setting(':v_cache#dtype') as Dtype];
    return {
      keys: cast(split(m.operand(':k_cache#dtype', key, k)), k),
      values: cast(transposedValues(split(m.operand(':v_cache#dtype', value, v))), v),
    };
  }
  const [k_cache, v_cache] = [cache.keys(layer), cache.values(layer)];
  const key_states = m.operand(':k_cache#dtype', key, k_cache.dtype);
  const value_states = m.operand(':v_cache#dtype', value, v_cache.dtype);
  const capacity = k_cache.shape[1]!;
  const rows = reshape(k_cache, [B * capacity, nk * d]);
  const elements = reshape(v_cache, [B * nk * d * capacity, 1]);
  const k_written = setRows(rows, reshape(key_states, [N, nk * d]), cache.keyRows);
  const v_written = setRows(elements, reshape(value_states, [N * nk * d, 1]), cache.valueElements);
  const keys = slice(reshape(k_written, [B, capacity, nk, d]), 1, 0, cache.span); //                  B, S, nk, d
  const values = slice(reshape(v_written, [B, nk, d, capacity]), 3, 0, cache.span); //                B, nk, d, S
  return {
    keys: m.tapAs(
      ':k_cache',
      keys,
      'S,nk,d',
      (x) => cast(cont(x), 'F32'),
      (x) => cast(x, k_cache.dtype),
    ), //                                                                                             B, S, nk, d
    values: m.tapAs(
      ':v_cache',
      values,
      'S,nk,d',
      (x) => cast(cont(permute(x, [0, 3, 1, 2])), 'F32'),
      (x) => cast(cont(permute(x, [0, 2, 3, 1])), v_cache.dtype),
    ), //                                                                                             B, nk, d, S (named B, S, nk, d)
  };
}
