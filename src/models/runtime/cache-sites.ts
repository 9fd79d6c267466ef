import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';

/** The tap that shows a block's keys or values as attention reads them. */
export function cacheTap(config: ModelConfig, layer: number, name: 'k_cache' | 'v_cache'): string {
  const { roles } = architectureOf(config).family;
  return roles[name === 'k_cache' ? 'cache.key' : 'cache.value']!.replace('*', String(layer));
}

/** The policy's site of the dtype that they are kept in. */
export function cacheSite(config: ModelConfig, layer: number, name: 'k_cache' | 'v_cache'): string {
  return `${cacheTap(config, layer, name)}#dtype`;
}
