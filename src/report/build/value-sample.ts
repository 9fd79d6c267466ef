/** Evenly spread pairs of elements of two tensors, for histograms. */

/** Elements sampled of one tap at most. */
const SAMPLE = 2 ** 15;
/** Bins of a histogram of values. */
const BINS = 48;

/** Histograms of both sides' values and of their differences; what is not finite is counted apart. */
export interface Histograms {
  /** Pairs sampled, one in `stride`. */
  sampled: number;
  stride: number;
  /** Counts of values in equal bins from `least` to `most`. */
  least: number;
  most: number;
  reference: number[];
  tested: number[];
  /** Counts of |tested − reference| by octave: entry k is 2^(octave + k) up to twice that. */
  octave: number;
  differences: number[];
  /** Pairs that are the same. */
  same: number;
  /** Pairs of which a side is not finite, and that are not the same. */
  notFinite: number;
}

/** Gathers {@link Histograms}. */
export class ValueSample {
  readonly #stride: number;
  readonly #a: Float32Array;
  readonly #b: Float32Array;
  #seen = 0;
  #count = 0;

  /**
   * @param elements pairs to come. @param width elements of a row: the stride has no factor in common with
   * it, so that all columns are met.
   */
  constructor(elements: number, width: number) {
    let stride = Math.max(1, Math.ceil(elements / SAMPLE));
    while (stride > 1 && greatestCommonDivisor(stride, width) > 1) stride++;
    this.#stride = stride;
    this.#a = new Float32Array(Math.ceil(elements / stride));
    this.#b = new Float32Array(this.#a.length);
  }

  /** Adds the next elements of both sides. */
  add(a: Float32Array, b: Float32Array): void {
    const first = (this.#stride - (this.#seen % this.#stride)) % this.#stride;
    for (let k = first; k < a.length && this.#count < this.#a.length; k += this.#stride) {
      this.#a[this.#count] = a[k]!;
      this.#b[this.#count++] = b[k]!;
    }
    this.#seen += a.length;
  }

  histograms(): Histograms {
    const a = this.#a.subarray(0, this.#count);
    const b = this.#b.subarray(0, this.#count);
    const finite = [...a, ...b].filter(Number.isFinite);
    const least = finite.reduce((low, value) => Math.min(low, value), finite[0] ?? 0);
    const most = finite.reduce((high, value) => Math.max(high, value), finite[0] ?? 0);
    return {
      sampled: a.length,
      stride: this.#stride,
      least,
      most,
      reference: counts(a, least, most),
      tested: counts(b, least, most),
      ...octaves(a, b),
    };
  }
}

function counts(values: Float32Array, least: number, most: number): number[] {
  const bins = new Array<number>(most > least ? BINS : 1).fill(0);
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    const bin = most > least ? Math.floor(((value - least) / (most - least)) * BINS) : 0;
    bins[Math.min(bin, bins.length - 1)]!++;
  }
  return bins;
}

function octaves(
  a: Float32Array,
  b: Float32Array,
): Pick<Histograms, 'octave' | 'differences' | 'same' | 'notFinite'> {
  const found = new Map<number, number>();
  let [same, notFinite] = [0, 0];
  for (let k = 0; k < a.length; k++) {
    const difference = Math.abs(b[k]! - a[k]!);
    if (difference === 0 || Object.is(a[k], b[k])) same++;
    else if (!Number.isFinite(difference)) notFinite++;
    else {
      const octave = Math.floor(Math.log2(difference));
      found.set(octave, (found.get(octave) ?? 0) + 1);
    }
  }
  if (found.size === 0) return { octave: 0, differences: [], same, notFinite };
  const octave = Math.min(...found.keys());
  const length = Math.max(...found.keys()) - octave + 1;
  const differences = Array.from({ length }, (_, k) => found.get(octave + k) ?? 0);
  return { octave, differences, same, notFinite };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
