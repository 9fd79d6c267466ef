/** One entry of an integer tap that differs. */
export interface IntegerDifference {
  /** Flat element over all parts in order. */
  index: number;
  reference: number;
  tested: number;
}

/** Comparison of an integer tensor, such as the chosen experts. */
export interface IntegerMetrics {
  elements: number;
  /** Entries that differ. */
  differing: number;
  /** The first of them, at most {@link MAX_LISTED}. */
  first: IntegerDifference[];
}

/** How many differing entries are listed. */
export const MAX_LISTED = 20;

/** Accumulates {@link IntegerMetrics}. */
export class IntegerSums {
  #elements = 0;
  #differing = 0;
  readonly #first: IntegerDifference[] = [];

  /** Adds a part; both sides of the same length. */
  add(a: Int32Array, b: Int32Array): void {
    for (let k = 0; k < a.length; k++) {
      if (a[k] === b[k]) continue;
      this.#differing++;
      if (this.#first.length < MAX_LISTED)
        this.#first.push({ index: this.#elements + k, reference: a[k]!, tested: b[k]! });
    }
    this.#elements += a.length;
  }

  metrics(): IntegerMetrics {
    return { elements: this.#elements, differing: this.#differing, first: [...this.#first] };
  }
}
