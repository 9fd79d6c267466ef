import { toFloat32 } from '../../dump/float.js';
import type { TensorBatch } from '../../dump/reader.js';

/** Part of an axis that holds nearly all of an error. */
export interface SpreadAxis {
  /** Entries that together hold 99 % of the error's energy, largest first, and how many the axis has. */
  count: number;
  size: number;
  /** The largest, at most 8, as positions (tokens) or columns of a row. */
  largest: readonly number[];
}

/** How the energy of an error lies over tokens and over the columns of their rows. */
export interface Spread {
  tokens: SpreadAxis;
  columns: SpreadAxis;
}

/** Share of the energy that counts as nearly all. */
const MOST = 0.99;
const LISTED = 8;

/**
 * Accumulates a {@link Spread}. A pair that is not finite on both sides counts as infinite where the two
 * differ.
 */
export class ErrorSpread {
  #tokens = new Map<number, number>();
  #columns = new Float64Array(0);

  /** Adds rows of both sides, of the same shape. */
  add(a: TensorBatch, b: TensorBatch): void {
    const [x, y] = [toFloat32(a.data, a.dtype), toFloat32(b.data, b.dtype)];
    const columns = x.length / a.shape[0]!;
    if (columns > this.#columns.length) {
      const wider = new Float64Array(columns);
      wider.set(this.#columns);
      this.#columns = wider;
    }
    for (let row = 0; row < a.shape[0]!; row++) {
      let energy = 0;
      for (let column = 0; column < columns; column++) {
        const k = row * columns + column;
        const error = x[k]! - y[k]!;
        const squared = Number.isFinite(error)
          ? error * error
          : Object.is(x[k], y[k])
            ? 0
            : Number.POSITIVE_INFINITY;
        energy += squared;
        this.#columns[column]! += squared;
      }
      if (a.tap.scope === 'step') continue;
      const position = a.position[row]!;
      this.#tokens.set(position, (this.#tokens.get(position) ?? 0) + energy);
    }
  }

  /** null where nothing was added. */
  spread(): Spread | null {
    if (this.#columns.length === 0) return null;
    return { tokens: axis([...this.#tokens]), columns: axis([...this.#columns.entries()]) };
  }
}

function axis(entries: readonly (readonly [index: number, energy: number])[]): SpreadAxis {
  const sorted = [...entries].sort(([, a], [, b]) => (a === b ? 0 : b - a));
  const infinite = sorted.filter(([, energy]) => energy === Number.POSITIVE_INFINITY).length;
  const total = sorted.reduce((sum, [, energy]) => sum + energy, 0);
  let count = infinite;
  if (infinite === 0)
    for (let sum = 0; count < sorted.length && sum < MOST * total; count++) sum += sorted[count]![1];
  return {
    count,
    size: entries.length,
    largest: sorted.slice(0, Math.min(count, LISTED)).map(([index]) => index),
  };
}
