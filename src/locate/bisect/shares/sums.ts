import { MetricSums } from '../../../diff/metrics.js';
import { badArgument } from '../../../errors.js';
import type { LocalEffect } from './backward.js';

/** What a site's errors add to the logits, over all values that it changes. */
export interface SiteEffect {
  /** For each seed, what each row of each value adds. */
  sums: number[][];
  /** Other sites in it. */
  together: string[];
}

/**
 * Effects by site. What cannot be told apart counts for the last of the sites: effects must add up.
 */
export function siteEffects(effects: readonly LocalEffect[]): Map<string, SiteEffect> {
  const found = new Map<string, SiteEffect>();
  for (const { sites, rows } of effects) {
    const last = sites.at(-1)!;
    const known = found.get(last) ?? { sums: rows.map(() => []), together: [] };
    for (const [seed, values] of rows.entries()) known.sums[seed]!.push(...values);
    for (const other of sites.slice(0, -1)) if (!known.together.includes(other)) known.together.push(other);
    found.set(last, known);
  }
  return found;
}

/** The numbers added up; 0 for none. */
export function total(values: readonly number[] = []): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Σ x². */
export function energyOf(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

/** Directions of which each entry is 1 or −1, the same in every run. */
export function probes(count: number, length: number): Float32Array[] {
  let state = 0x9e3779b9;
  return Array.from({ length: count }, () =>
    Float32Array.from({ length }, () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state < 0 ? -1 : 1;
    }),
  );
}

/** Energy NMSE of logits. Throws `BAD_ARGUMENT` where some are not finite. */
export function nmseOf(target: Float32Array, logits: Float32Array, policy: string): number {
  const sums = new MetricSums();
  sums.add(target, logits);
  const { nmse, nonFinite } = sums.metrics();
  if (nonFinite > 0) throw badArgument('attribute', 'finite logits', `NaN or infinities under ${policy}`);
  return nmse;
}

/** What some work gives, and the seconds that it took. */
export async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, (performance.now() - start) / 1000];
}
