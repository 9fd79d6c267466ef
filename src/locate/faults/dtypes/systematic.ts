/**
 * The parts of an own error that have a system: its mean by column, its share in the value itself (a wrong
 * scale), and its mean over all right values of about the same size (a function approximated). Roundings
 * average out, a bias that is added in the wrong place does not: so a fault shows that is no larger than the
 * op's own rounding.
 */
import { tapPlace } from '../../replay/tap-graph.js';
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
    const sums = this.#sums;
    let [size, along, errors] = [0, 0, 0];
    for (let k = 0; k < right.length; )
      for (let column = 0; column < columns; column++, k++) {
        const value = right[k]!;
        const error = other[k]! - value;
        if (error - error !== 0) continue;
        sums[column]! += error;
        size += value * value;
        along += error * value;
        errors += error * error;
      }
    this.#size += size;
    this.#along += along;
    this.#errors += errors;
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
 * Over at least so many blocks the parts of a kind of op are summed. Those of right programs that sum or
 * round in other ways are at most 1.6 times as large as the noise run's then (measured on five checkpoints),
 * where no product lies inside, whose order of sums makes up to 11 times.
 */
const POOLED_BLOCKS = 4;
const POOLED_FACTOR = 4;
/**
 * An op of such a kind is at fault whose own part is this many times as large, and this share of the kind's.
 */
const POOLED_OWN = 3;
const POOLED_SHARE = 0.1;

/**
 * Ops whose error is systematic where that of a noise run is not, with the own error (energy NMSE) that would
 * be usual.
 * @param noise own errors of a run that counts as right, of the same prompt: tokens that come again make
 * roundings come again.
 * @param hasProduct true for ops that sum products.
 * @param hasFew true where ops are recomputed in their own dtypes, and only a few sums on the other side of a
 * tie differ: those have no more system than their own energy gives them, however quiet the noise run is.
 */
export function systematicFaults(
  local: ReadonlyMap<string, LocalError>,
  noise: ReadonlyMap<string, LocalError>,
  hasProduct: (tap: string) => boolean,
  hasFew: boolean,
): Map<string, number> {
  const found = new Map<string, number>();
  const kinds = new Map<string, Ratio[]>();
  const add = (name: string, excess: number) => {
    if (!(excess > 1) || !Number.isFinite(excess)) return;
    found.set(name, Math.min(local.get(name)!.nmse / excess, found.get(name) ?? Number.POSITIVE_INFINITY));
  };
  for (const [name, { systematic }] of local) {
    const usual = noise.get(name)?.systematic;
    if (systematic === null || usual == null || systematic.columns < LEAST_COLUMNS) continue;
    for (const part of ['mean', 'scale', 'size'] as const) {
      const right = Math.max(usual[part], usual.expected[part], hasFew ? systematic.expected[part] : 0);
      const own = systematic[part];
      add(name, own / (FACTOR * right));
      // one number of a whole value says too little of so small an excess
      if (part === 'scale' || hasProduct(name)) continue;
      const kind = `${tapPlace(name).suffix} ${part}`;
      kinds.set(kind, [...(kinds.get(kind) ?? []), { name, own, right }]);
    }
  }
  for (const ratios of kinds.values()) {
    if (ratios.length < POOLED_BLOCKS) continue;
    const [own, right] = [sum(ratios.map((each) => each.own)), sum(ratios.map((each) => each.right))];
    const pooled = own / right;
    if (!(pooled > POOLED_FACTOR)) continue;
    for (const each of ratios)
      if (each.own > Math.max(POOLED_OWN, POOLED_SHARE * pooled) * each.right)
        add(each.name, pooled / POOLED_FACTOR);
  }
  return found;
}

/** A part of an op's error, and what it is in a run that counts as right. */
interface Ratio {
  name: string;
  own: number;
  right: number;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
