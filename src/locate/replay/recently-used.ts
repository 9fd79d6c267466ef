/**
 * A map that forgets what was used longest ago once its values take more than a budget. The newest value
 * stays, however large.
 */
export class RecentlyUsed<V> {
  readonly #budget: number;
  readonly #sizeOf: (value: V) => number;
  readonly #onForget: (value: V) => void;
  readonly #values = new Map<string, V>();
  #size = 0;

  /** @param budget in the unit of `sizeOf`. @param onForget called with each value that leaves. */
  constructor(budget: number, sizeOf: (value: V) => number, onForget: (value: V) => void = () => {}) {
    this.#budget = budget;
    this.#sizeOf = sizeOf;
    this.#onForget = onForget;
  }

  /** True if the key has a value. Does not count as a use. */
  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The value of a key, which becomes the one used last. */
  get(key: string): V | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** Sets the value of a key that has none. */
  set(key: string, value: V): void {
    this.#values.set(key, value);
    this.#size += this.#sizeOf(value);
    for (const [oldest, old] of this.#values) {
      if (this.#size <= this.#budget || oldest === key) break;
      this.#values.delete(oldest);
      this.#size -= this.#sizeOf(old);
      this.#onForget(old);
    }
  }

  /** Forgets everything. */
  clear(): void {
    for (const value of this.#values.values()) this.#onForget(value);
    this.#values.clear();
    this.#size = 0;
  }
}
