import { convChannels, convStateLength, type ZayaConfig } from './config.js';

/** Size of a named axis in a call of `tokens` tokens that sees `visible` positions. Names are those of the axes in {@link ./zaya.ts}, e.g. `T`, `nq*d`, `E+1`. */
export function axisSize(config: ZayaConfig, axis: string, tokens: number, visible = tokens): number {
  const { num_attention_heads: nq, num_key_value_heads: nk, head_dim: d } = config;
  const sizes: Record<string, number> = {
    T: tokens,
    S: visible,
    L: convStateLength(config),
    H: config.hidden_size,
    nq,
    nk,
    d,
    'nq*d': nq * d,
    'nk*d': nk * d,
    'nk*d/2': (nk * d) / 2,
    C: convChannels(config),
    leads: config.cca_time1 - 1,
    R: config.router_hidden_size,
    'E+1': config.num_experts + 1,
    F: config.moe_intermediate_size,
    '2F': 2 * config.moe_intermediate_size,
    V: config.vocab_size,
  };
  return sizes[axis]!;
}
