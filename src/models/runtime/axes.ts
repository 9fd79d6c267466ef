import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';

/**
 * Size of a named axis in a call of `tokens` tokens that sees `visible` positions. Names are those of the
 * model file, e.g. `T`, `nq*d`.
 */
export function axisSize(config: ModelConfig, axis: string, tokens: number, visible = tokens): number {
  if (axis === 'T') return tokens;
  return axis === 'S' ? visible : architectureOf(config).axes(config)[axis]!;
}
