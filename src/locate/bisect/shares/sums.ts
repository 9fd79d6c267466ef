import { MetricSums } from '../../../diff/metrics.js';
import { badArgument, ZayascopeError } from '../../../errors.js';
import type { LocalEffect } from './backward.js';

/** Shares whose sum is further from 1 are no account of the error. */
export const SUM_TOLERANCE = 0.05;

/**
 * What the error grew by from the good run to the bad one, and its slope half way, which is that of the whole
 * growth. Throws `BAD_ARGUMENT` where it did not grow.
 */
export function growth(
  good: Float32Array,
  bad: Float32Array,
  target: Float32Array,
  badName: string,
  goodName: string,
): { seed: Float32Array; energy: number } {
  const seed = bad.map((value, at) => value + good[at]! - 2 * target[at]!);
  const energy = bad.reduce((sum, value, at) => sum + (value - good[at]!) * seed[at]!, 0);
  if (!(energy > 0))
    throw badArgument(
      'attribute',
      `logits under ${badName} that are further off than those under ${goodName}`,
      energy === 0 ? 'as far' : Number.isNaN(energy) ? 'NaN' : 'nearer',
    );
  return { seed, energy };
}

/** The error to throw: `CANCELLED` where the signal has asked for it. */
export function cancelled(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted
    ? new ZayascopeError('CANCELLED', 'attribute: cancelled on the way', { op: 'attribute' })
    : error;
}

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
