/**
 * The parts of an own error that have a system: its mean by column, its share in the value itself (a wrong
 * scale), and its mean over all right values of about the same size (a function approximated). Roundings
 * average out, a bias that is added in the wrong place does not: so a fault shows that is no larger than the
 * op's own rounding.
 */
import type { LocalError } from '../local.js';
import { SizeErrors } from './size-errors.js';

/** Energy NMSE of the parts of an error that have a system, over so many tokens and columns. */
export interface SystematicError {
  mean: number;
  scale: number;
  size: number;
  /** What each part would be of errors without any system. */
  expected: Readonly<Record<'mean' | 'scale' | 'size', number>>;
  columns: number;
}

/** Sums errors over tokens. */
export class ColumnErrors {
  #sums = new Float64Array(0);
  #size = 0;
  #along = 0;
  #rows = 0;
  #errors = 0;
  readonly #bySize = new SizeErrors();

  /**
   * Adds rows: the right ones and the others, of `columns` each. Elements that are not finite are left out.
   */
  add(right: Float32Array, other: Float32Array, columns: number): void {
    if (columns > this.#sums.length) {
      const wider = new Float64Array(columns);
      wider.set(this.#sums);
      this.#sums = wider;
    }
    for (let k = 0; k < right.length; k++) {
      const error = other[k]! - right[k]!;
      if (!Number.isFinite(error)) continue;
      this.#sums[k % columns]! += error;
      this.#size += right[k]! ** 2;
      this.#along += error * right[k]!;
      this.#errors += error * error;
    }
    this.#bySize.add(right, other);
    this.#rows += right.length / columns;
  }

  /** null where nothing was added. */
  error(): SystematicError | null {
    const [columns, rows, size] = [this.#sums.length, this.#rows, this.#size];
    if (rows === 0) return null;
    if (size === 0) return { mean: 0, scale: 0, size: 0, expected: { mean: 0, scale: 0, size: 0 }, columns };
    const mean = this.#sums.reduce((sum, error) => sum + error * error, 0) / rows / size;
    const bySize = this.#bySize.energies();
    const byToken = this.#errors / size / rows;
    return {
      mean,
      scale: (this.#along / size) ** 2,
      size: bySize.systematic / size,
      expected: { mean: byToken, scale: byToken, size: bySize.expected / size },
      columns,
    };
  }
}

/**
 * A ratio of 5 of the errors: where the values of a column are nearly the same for all tokens, so are their
 * roundings.
 */
const FACTOR = 25;
/** Of fewer columns the mean says too little. */
const LEAST_COLUMNS = 16;

/**
 * Ops whose error is systematic where that of a noise run is not, with the own error (energy NMSE) that would
 * be usual.
 * @param noise own errors of a run that counts as right, of the same prompt: tokens that come again make
 * roundings come again.
 */
export function systematicFaults(
  local: ReadonlyMap<string, LocalError>,
  noise: ReadonlyMap<string, LocalError>,
): Map<string, number> {
  const found = new Map<string, number>();
  for (const [name, { nmse, systematic }] of local) {
    const usual = noise.get(name);
    if (systematic === null || usual?.systematic == null || systematic.columns < LEAST_COLUMNS) continue;
    for (const part of ['mean', 'scale', 'size'] as const) {
      const limit = FACTOR * Math.max(usual.systematic[part], usual.systematic.expected[part]);
      const excess = systematic[part] / limit;
      if (excess > 1 && Number.isFinite(excess))
        found.set(name, Math.min(nmse / excess, found.get(name) ?? Number.POSITIVE_INFINITY));
    }
  }
  return found;
}
