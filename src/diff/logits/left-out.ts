/** What a comparison leaves out where one vocabulary is smaller than the other. */

/** Logits of the larger vocabulary beyond the end of the smaller one. */
export interface LeftOut {
  side: 'reference' | 'tested';
  /** Logits of a row that are not compared, and the share of those that are. */
  logits: number;
  compared: number;
  /** The largest share of a row's probability that they hold; NaN where the row is not finite. */
  probability: number;
  /**
   * True if they may be padding, as exports trim it: at most a tenth of the logits, and at most 1 % of the
   * probability. Otherwise what was compared says little of the model.
   */
  isPadding: boolean;
}

/** The least share of logits, and the most probability beyond them, of a comparison that may pass. */
const LEAST_COMPARED = 0.9;
const MOST_PROBABILITY = 0.01;

/** Sums {@link LeftOut} over rows. */
export class LeftOutSums {
  readonly #reference: number;
  readonly #tested: number;
  #most = 0;

  constructor(reference: number, tested: number) {
    this.#reference = reference;
    this.#tested = tested;
  }

  /** A row of each side, whole. */
  add(reference: Float32Array, tested: Float32Array): void {
    if (this.#reference === this.#tested) return;
    const [larger, from] =
      this.#reference > this.#tested ? [reference, this.#tested] : [tested, this.#reference];
    const probability = probabilityBeyond(larger, from);
    this.#most = Number.isNaN(this.#most) ? this.#most : Math.max(this.#most, probability);
  }

  report(): LeftOut | null {
    const [most, least] = [Math.max(this.#reference, this.#tested), Math.min(this.#reference, this.#tested)];
    if (most === least) return null;
    const compared = least / most;
    return {
      side: this.#reference > this.#tested ? 'reference' : 'tested',
      logits: most - least,
      compared,
      probability: this.#most,
      isPadding: compared >= LEAST_COMPARED && !(this.#most > MOST_PROBABILITY),
    };
  }
}

/** The soft-max of a row, summed from a column on. */
function probabilityBeyond(row: Float32Array, from: number): number {
  const largest = row.reduce((most, logit) => (logit > most || Number.isNaN(logit) ? logit : most));
  let [before, beyond] = [0, 0];
  for (const [id, logit] of row.entries()) {
    const weight = Math.exp(logit - largest);
    if (id < from) before += weight;
    else beyond += weight;
  }
  return beyond / (before + beyond);
}
