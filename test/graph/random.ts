/** A seeded stream of random numbers (xorshift on 32 bits): the same seed gives the same tests everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
    for (let i = 0; i < 8; i++) this.unit();
  }

  /** Uniform in 0 (inclusive) .. 1 (exclusive). */
  unit(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) / 2 ** 32;
  }

  /** Uniform integer in `from` .. `to`, both inclusive. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  /** Standard normal. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }

  /** One of the entries. */
  pick<T>(entries: readonly T[]): T {
    return entries[this.integer(0, entries.length - 1)]!;
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.unit() < probability;
  }
}
