/** Statistics and hashes against the manifest, as `rows.ts` compares the rows of values. */
import { isQuantised } from '../dtypes.js';
import type { Manifest } from '../format.js';
import { sequenceLength } from '../sequences.js';
import type { HashRow, StatsRows } from '../stats-reader.js';
import { type RowFault, rowFault } from './rows.js';

/**
 * What of `stats.arrow` the manifest contradicts. Where tensors are there too, statistics may be missing:
 * they are not what is compared.
 */
export function statsFault(manifest: Manifest, stats: StatsRows): RowFault | undefined {
  const numbers = new Map<string, number[]>();
  for (const [row, tap] of stats.tap.entries()) {
    const own = numbers.get(tap);
    if (own === undefined) numbers.set(tap, [row]);
    else own.push(row);
  }
  for (const tap of manifest.taps) {
    const own = numbers.get(tap.name) ?? [];
    // Of quantised types that a producer cannot decode it has none.
    const mayLack = manifest.tier === 'full' || isQuantised(tap.dtype);
    const pick = (column: Int32Array) => Int32Array.from(own, (row) => column[row]!);
    const rows = { sequence: pick(stats.sequence), position: pick(stats.position), step: pick(stats.step) };
    const fault = rowFault(manifest, [mayLack ? { ...tap, nullable: true } : tap], rows);
    if (fault !== undefined) return { ...fault, got: `${fault.got} of ${tap.name}` };
  }
  return undefined;
}

/** What of `hash.arrow` the manifest contradicts: hashes hold no positions, only how many rows went in. */
export function hashFault(manifest: Manifest, hashes: readonly HashRow[]): RowFault | undefined {
  const { status, steps, sequences, selection, taps } = manifest;
  if (status !== 'complete') return undefined;
  const counts = new Map<string, number>();
  for (const { tap, sequence, step, rows } of hashes) {
    if (sequences[sequence] === undefined)
      return {
        expected: `hashes of the manifest's ${sequences.length} sequences`,
        got: `one of sequence ${sequence}`,
      };
    if (step < 0 || step >= steps)
      return { expected: `steps below ${steps}, as the manifest says`, got: `step ${step}` };
    const key = `${sequence} ${tap}`;
    counts.set(key, (counts.get(key) ?? 0) + rows);
  }
  if (selection.positions.trim() !== 'all') return undefined;
  for (const { name, scope, nullable } of taps)
    for (const [number, sequence] of scope === 'token' && nullable !== true ? sequences.entries() : []) {
      const rows = counts.get(`${number} ${name}`) ?? 0;
      const length = sequenceLength(sequence);
      if (rows !== length)
        return {
          expected: `hashes over ${length} rows of sequence ${number}, as the manifest says`,
          got: `over ${rows} of ${name}`,
        };
    }
  return undefined;
}
