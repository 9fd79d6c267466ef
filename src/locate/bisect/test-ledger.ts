/**
 * What a search asks. Both answers must depend on the set, and the price on the sets measured before, alone.
 */
export interface Oracle {
  /** Error of a run in which exactly these sites are bad; NaN counts as infinite. */
  measure(sites: readonly string[]): Promise<number>;
  /** Price of that run, in forward passes, after the runs so far. */
  price(sites: readonly string[]): number;
  /** Price of a run that shares all with another up to the first of these sites, and nothing after. */
  reach(sites: readonly string[]): number;
}

/** Keeps what has been measured and what it has cost, within a limit. */
export class TestLedger {
  readonly #oracle: Oracle;
  readonly #errors = new Map<string, number>();
  readonly failAbove: number;
  readonly maxPasses: number;
  /** Prices of the runs so far. */
  passes: number;

  /**
   * @param failAbove a run with a larger error fails. @param maxPasses prices never add up to more.
   * @param measured sets and errors that are known already, for which `passes` have been paid.
   */
  constructor(
    oracle: Oracle,
    failAbove: number,
    maxPasses: number,
    measured: readonly (readonly [sites: readonly string[], error: number])[] = [],
    passes = 0,
  ) {
    this.#oracle = oracle;
    this.failAbove = failAbove;
    this.maxPasses = maxPasses;
    this.passes = passes;
    for (const [sites, error] of measured) this.#errors.set(setKey(sites), error);
  }

  /** What may still be spent. */
  get left(): number {
    return this.maxPasses - this.passes;
  }

  /** The error of a set that has been measured. */
  known(sites: readonly string[]): number | undefined {
    return this.#errors.get(setKey(sites));
  }

  /** Price of measuring a set: 0 if it has been. */
  price(sites: readonly string[]): number {
    return this.known(sites) === undefined ? this.#oracle.price(sites) : 0;
  }

  /** See {@link Oracle.reach}. */
  reach(sites: readonly string[]): number {
    return this.#oracle.reach(sites);
  }

  /** The error of a set; undefined where what is left does not suffice to measure it. */
  async measure(sites: readonly string[]): Promise<number | undefined> {
    const known = this.known(sites);
    if (known !== undefined) return known;
    const price = this.#oracle.price(sites);
    // Prices are fractions: a whole number of passes must not fail on their rounding.
    if (price > this.left + 1e-9) return undefined;
    this.passes += price;
    const error = await this.#oracle.measure(sites);
    this.#errors.set(setKey(sites), error);
    return error;
  }

  /** True if the run with these sites bad fails; undefined as for {@link measure}. */
  async fails(sites: readonly string[]): Promise<boolean | undefined> {
    const error = await this.measure(sites);
    return error === undefined ? undefined : this.isFailing(error);
  }

  /** NaN fails. */
  isFailing(error: number): boolean {
    return !(error <= this.failAbove);
  }
}

/** The same key for the same sites in any order. */
export function setKey(sites: readonly string[]): string {
  return [...sites].sort().join('\n');
}
