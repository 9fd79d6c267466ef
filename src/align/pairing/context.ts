/** What both graphs say of a pair: what went into the one must have gone into the other. */
import { ancestors, nearest, type Side } from '../classes.js';
import type { Candidate, ClassPair } from './candidate.js';
import { explainedBetween } from './explained.js';
import type { Pairs } from './pairs.js';

/** Both graphs, with the pairs found so far as landmarks. */
export class Context {
  readonly reference: Side;
  readonly tested: Side;
  readonly pairs: Pairs;
  readonly #ofTested = new Map<number, Set<number>>();
  readonly #ofReference = new Map<number, Set<number>>();

  constructor(reference: Side, tested: Side, pairs: Pairs) {
    this.reference = reference;
    this.tested = tested;
    this.pairs = pairs;
  }

  /** Whether both sides say what went into what. */
  get hasEdges(): boolean {
    return this.reference.hasEdges && this.tested.hasEdges;
  }

  /** Every tested class that one was computed from. */
  ancestorsOf(tested: number): Set<number> {
    return remembered(this.#ofTested, tested, () => ancestors(this.tested, tested));
  }

  /** Whether rounding on the way from what is paired explains the error. */
  isExplained(reference: number, { tested, fit }: Candidate): boolean {
    const isKnown = (id: number) => this.pairs.ofTested(id) !== undefined;
    const sources = nearest(this.tested, tested, 'parents', isKnown);
    const before = Math.max(0, ...[...sources].map((id) => this.pairs.ofTested(id)!.fit.error));
    const { limit } = explainedBetween(this.tested, tested, isKnown, before);
    if (fit.error > limit) return false;
    return fit.error <= 1e-6 || this.sources(reference).size === 0 || sources.size > 0;
  }

  /** What is paired already and went into the one must have gone into the other. */
  isConsistent(reference: number, tested: number): boolean {
    if (!this.hasEdges) return true;
    const own = this.ancestorsOf(tested);
    const goesIn = [...this.sources(reference)].every((partner) => partner === tested || own.has(partner));
    if (!goesIn) return false;
    // And what went into the one was not made from the other.
    return [...this.sourcesOfTested(tested)].every(
      (id) => !this.#ancestorsOfReference(this.pairs.ofTested(id)!.reference).has(reference),
    );
  }

  /** Partners of the nearest paired sources of a reference class. */
  sources(reference: number): Set<number> {
    const sources = nearest(this.reference, reference, 'parents', (id) => this.#isAnchor(id));
    return this.#latest(new Set([...sources].map((id) => this.pairs.of(id)!.tested)));
  }

  /** The nearest paired sources of a tested class. */
  sourcesOfTested(tested: number): Set<number> {
    const isKnown = (id: number) => {
      const pair = this.pairs.ofTested(id);
      return pair !== undefined && this.#isAnchor(pair.reference);
    };
    return this.#latest(nearest(this.tested, tested, 'parents', isKnown));
  }

  /** Pairs that follow a pair in both graphs. */
  after({ reference, tested }: ClassPair): ClassPair[] {
    const next = nearest(this.reference, reference, 'children', (id) => this.pairs.has(id));
    const own = nearest(this.tested, tested, 'children', (id) => this.pairs.ofTested(id) !== undefined);
    return [...next].map((id) => this.pairs.of(id)!).filter((pair) => own.has(pair.tested));
  }

  #ancestorsOfReference(reference: number): Set<number> {
    return remembered(this.#ofReference, reference, () => ancestors(this.reference, reference));
  }

  /** Positions and masks go into one program's values and not into the other's. */
  #isAnchor(reference: number): boolean {
    return this.pairs.has(reference) && !this.reference.classes[reference]!.members[0]!.isExact;
  }

  /** Without those that went into others of them: one program's edges skip what the other's go through. */
  #latest(ids: Set<number>): Set<number> {
    return new Set(
      [...ids].filter((id) => ![...ids].some((other) => other !== id && this.ancestorsOf(other).has(id))),
    );
  }
}

function remembered<T>(known: Map<number, T>, id: number, make: () => T): T {
  const value = known.get(id) ?? make();
  known.set(id, value);
  return value;
}
