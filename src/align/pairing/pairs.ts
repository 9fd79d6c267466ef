/** The pairs found so far. */
import { type ClassPair, isCut } from './candidate.js';

/** Pairs by both sides. Several parts of one tested value may have partners of their own. */
export class Pairs {
  readonly #byReference = new Map<number, ClassPair>();
  readonly #byTested = new Map<number, ClassPair>();

  get size(): number {
    return this.#byReference.size;
  }

  /** In the order in which they were found. */
  all(): ClassPair[] {
    return [...this.#byReference.values()];
  }

  of(reference: number): ClassPair | undefined {
    return this.#byReference.get(reference);
  }

  ofTested(tested: number): ClassPair | undefined {
    return this.#byTested.get(tested);
  }

  has(reference: number): boolean {
    return this.#byReference.has(reference);
  }

  /** Whether a tested value has its partner; one of whose parts have theirs may have its own, too. */
  isTaken(tested: number): boolean {
    const pair = this.#byTested.get(tested);
    return pair !== undefined && !isCut(pair);
  }

  add(pair: ClassPair): void {
    this.#byReference.set(pair.reference, pair);
    if (!isCut(pair) || !this.#byTested.has(pair.tested)) this.#byTested.set(pair.tested, pair);
  }

  remove(pair: ClassPair): void {
    this.#byReference.delete(pair.reference);
    if (this.#byTested.get(pair.tested) === pair) this.#byTested.delete(pair.tested);
  }
}
