/** What of an import is NaN, infinite or nothing but zeros: counted while it is written, and said. */
import { isExact } from '../dtypes.js';
import { isMasked, type TapSpec } from '../format.js';

/** What is not finite in the values of an import. */
export interface ImportedNonFinite {
  nan: number;
  /** Infinities, but for those of taps that are marked as masked, where they are meant. */
  inf: number;
  /** Taps with any. */
  taps: number;
  /** The first of these in the order in which they are written: a step at a time, a block at a time. */
  first: string;
}

/** Numbers of a row as `rowStats` gives them: the largest magnitude, counts of NaN and of infinities. */
const [STATS, LARGEST, NAN, INF] = [7, 4, 5, 6] as const;

/** Counts by the row statistics of taps. */
export class ValueCount {
  readonly #floats = new Set<string>();
  readonly #nonFinite = new Set<string>();
  #nan = 0;
  #inf = 0;
  #isZero = true;

  add(tap: TapSpec, rows: Float64Array): void {
    if (isExact(tap.dtype)) return;
    this.#floats.add(tap.name);
    const masked = isMasked(tap);
    let [nan, inf] = [0, 0];
    for (let row = 0; row < rows.length; row += STATS) {
      nan += rows[row + NAN]!;
      inf += masked ? 0 : rows[row + INF]!;
      if (rows[row + LARGEST] !== 0) this.#isZero = false;
    }
    if (nan + inf > 0) this.#nonFinite.add(tap.name);
    this.#nan += nan;
    this.#inf += inf;
  }

  /** Null where everything is finite. */
  get nonFinite(): ImportedNonFinite | null {
    const [first] = this.#nonFinite;
    if (first === undefined) return null;
    return { nan: this.#nan, inf: this.#inf, taps: this.#nonFinite.size, first };
  }

  /** What a user must know of the values; none where they are as values are. */
  notes(): string[] {
    const { nonFinite } = this;
    const { size } = this.#floats;
    const taps = size === 1 ? 'the only tap' : `all ${size} taps`;
    return [
      ...(nonFinite === null ? [] : [nonFiniteWords(nonFinite)]),
      ...(size === 0 || !this.#isZero ? [] : [`ALL ZERO: every value of ${taps} of floats is 0.`]),
    ];
  }
}

function nonFiniteWords({ nan, inf, taps, first }: ImportedNonFinite): string {
  const where = taps === 1 ? first : `${taps} taps, first ${first}`;
  return `NOT FINITE: ${nan} NaN and ${inf} infinite values in ${where}. They are stored as they are.`;
}
