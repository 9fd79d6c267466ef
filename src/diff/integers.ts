import type { TapElements } from '../dump/float.js';

/** Comparison of an integer tensor, such as the chosen experts. */
export interface IntegerMetrics {
  elements: number;
  /** Entries that differ. */
  differing: number;
}

/** How many differing entries are listed. */
export const MAX_LISTED = 20;

/** Accumulates {@link IntegerMetrics}. */
export class IntegerSums {
  #elements = 0;
  #differing = 0;

  /**
   * Adds a part; both sides of the same length, and both or neither of 64 bits.
   * @returns elements of the part that differ, as long as no more than {@link MAX_LISTED} have been returned
   * in all.
   */
  add(a: TapElements, b: TapElements): number[] {
    const listed: number[] = [];
    for (let k = 0; k < a.length; k++) {
      if (a[k] === b[k]) continue;
      if (this.#differing++ < MAX_LISTED) listed.push(k);
    }
    this.#elements += a.length;
    return listed;
  }

  metrics(): IntegerMetrics {
    return { elements: this.#elements, differing: this.#differing };
  }
}
