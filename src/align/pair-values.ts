/**
 * Pairs the values of two sides: by their elements where these agree, by the two graphs where they do not.
 */
import { type Candidate, isAsGood, isCut, ROUNDING, wholeFirst } from './candidate.js';
import { ancestors, nearest, type Side } from './classes.js';
import { quantileDistance } from './distance.js';
import { explainedBetween } from './explained.js';
import { BlockRules } from './kinds.js';
import { bestFit, type CallSizes } from './layouts.js';

/** Two classes that belong together. */
export interface ClassPair extends Candidate {
  reference: number;
  /** `elements`: they agree and no others nearly do; `neighbours`: their places in both graphs. */
  by: 'elements' | 'neighbours';
  /** The next best candidate of either side. */
  next: { tested: number; reference: number; error: number } | undefined;
}

/** The outcome of {@link pairValues}. */
export interface PairedValues {
  pairs: ClassPair[];
  /** By reference class without partner: candidates, the best first. */
  open: ReadonlyMap<number, readonly Candidate[]>;
}

/** Above this nothing is paired by its elements. */
const MOST_ERROR = 0.1;
/** How many times nearer than the next one a partner must be. */
const CLEAR = 25;
/** The same, among those that the graphs allow. */
const CLEAR_AMONG_FEW = 4;
/** The same, among values that other blocks show to belong together. */
const CLEAR_IN_BLOCKS = 1;
const MOST_ERROR_IN_BLOCKS = 0.25;
/** Quantiles farther apart are not looked at element by element. */
const FAR = 0.5;

/** Pairs classes of `reference` with classes of `tested`. */
export function pairValues(reference: Side, tested: Side, sizes: CallSizes): PairedValues {
  return new Pairer(reference, tested, sizes).run();
}

class Pairer {
  readonly #reference: Side;
  readonly #tested: Side;
  readonly #sizes: CallSizes;
  readonly #candidates: Candidate[][];
  /** By tested class: reference classes and their errors. */
  readonly #back: { reference: number; error: number; isCut: boolean }[][];
  readonly #byReference = new Map<number, ClassPair>();
  readonly #byTested = new Map<number, ClassPair>();
  readonly #ancestors = new Map<number, Set<number>>();
  readonly #before = new Map<number, Set<number>>();
  readonly #fits = new Map<string, Candidate | undefined>();

  constructor(reference: Side, tested: Side, sizes: CallSizes) {
    this.#reference = reference;
    this.#tested = tested;
    this.#sizes = sizes;
    this.#back = tested.classes.map(() => []);
    this.#candidates = reference.classes.map(({ id }) => {
      const found = tested.classes.flatMap((other) => this.#candidate(id, other.id, FAR) ?? []);
      for (const each of found)
        this.#back[each.tested]!.push({ reference: id, error: each.fit.error, isCut: isCut(each) });
      return found.sort((a, b) => a.fit.error - b.fit.error);
    });
    for (const list of this.#back) list.sort((a, b) => a.error - b.error);
  }

  run(): PairedValues {
    // What is all but the same first, whatever lies around it; then outward from there.
    this.#byElements(1e-6, false);
    for (;;) {
      const before = this.#byReference.size;
      this.#byElements(MOST_ERROR, this.#tested.hasEdges && this.#reference.hasEdges);
      if (this.#byReference.size > before) continue;
      if (!this.#byOtherBlocks() && !this.#byNeighbours()) break;
    }
    this.#dropUnfounded();
    const open = new Map<number, readonly Candidate[]>();
    for (const { id } of this.#reference.classes)
      if (!this.#byReference.has(id)) open.set(id, this.#candidates[id]!.slice(0, 3));
    return { pairs: [...this.#byReference.values()], open };
  }

  #candidate(reference: number, tested: number, far: number): Candidate | undefined {
    const key = `${reference} ${tested}`;
    if (this.#fits.has(key)) return this.#fits.get(key);
    const [a, b] = [
      this.#reference.classes[reference]!.members[0]!,
      this.#tested.classes[tested]!.members[0]!,
    ];
    if (a.isExact !== b.isExact) return undefined;
    const isWhole = a.data.length === b.data.length;
    const quantiles = isWhole ? quantileDistance(a.quantiles, b.quantiles) : Number.NaN;
    if (quantiles > far) return undefined;
    const fit = bestFit(a, b, this.#sizes, isWhole ? quantiles : Number.POSITIVE_INFINITY);
    const found = fit === undefined ? undefined : { tested, quantiles, fit };
    this.#fits.set(key, found);
    return found;
  }

  /** Pairs whose elements agree, and no others' nearly do, from the best on. */
  #byElements(limit: number, withContext: boolean): void {
    const all = this.#candidates.flatMap((list, reference) =>
      this.#byReference.has(reference) || list.length === 0 ? [] : [{ reference, best: wholeFirst(list) }],
    );
    for (const { reference, best } of all.sort((a, b) => a.best.fit.error - b.best.fit.error)) {
      if (best.fit.error > limit || (this.#isTaken(best.tested) && !isCut(best))) continue;
      const chosen =
        this.#clearest(reference, best, CLEAR, false) ??
        (withContext ? this.#clearest(reference, best, CLEAR_AMONG_FEW, true) : undefined);
      if (chosen === undefined) continue;
      if (withContext && !this.#isExplained(reference, chosen.candidate)) continue;
      if (!this.#isConsistent(reference, chosen.candidate.tested)) continue;
      this.#add({ reference, ...chosen.candidate, by: 'elements', next: chosen.next });
    }
  }

  /**
   * The best candidate, if on both sides the next ones are far behind.
   * @param inPlace only those count that the graphs allow.
   */
  #clearest(
    reference: number,
    best: Candidate,
    factor: number,
    inPlace: boolean,
  ): { candidate: Candidate; next: ClassPair['next'] } | undefined {
    const least = factor * Math.max(best.fit.error, ROUNDING / factor);
    const rivals = this.#candidates[reference]!.filter(
      (rival) =>
        rival.tested !== best.tested &&
        !this.#isTaken(rival.tested) &&
        rival.fit.error <= least &&
        !this.#isPartOf(best, rival) &&
        (!inPlace || this.#isConsistent(reference, rival.tested)),
    );
    if (rivals.length > 0) return undefined;
    // Several values may be parts of one.
    const others = this.#back[best.tested]!.filter((each) => each.reference !== reference && !each.isCut);
    const isRival = (other: { reference: number; error: number }) =>
      !this.#byReference.has(other.reference) &&
      other.error <= least &&
      (!inPlace || this.#isConsistent(other.reference, best.tested));
    if (!isCut(best) && others.some(isRival)) return undefined;
    const nextTested = this.#candidates[reference]!.find(({ tested }) => tested !== best.tested);
    const nextReference = others[0];
    const next =
      (nextTested?.fit.error ?? Number.POSITIVE_INFINITY) <=
      (nextReference?.error ?? Number.POSITIVE_INFINITY)
        ? nextTested && { tested: nextTested.tested, reference, error: nextTested.fit.error }
        : nextReference && {
            tested: best.tested,
            reference: nextReference.reference,
            error: nextReference.error,
          };
    return { candidate: best, next };
  }

  /**
   * Whether a candidate is a part of a value that the other went into, such as one of two that were joined.
   */
  #isPartOf(whole: Candidate, part: Candidate): boolean {
    if (!isCut(part) || isCut(whole) || !isAsGood(whole, part)) return false;
    return !this.#tested.hasEdges || this.#ancestorsOf(part.tested).has(whole.tested);
  }

  /** Whether rounding on the way from what is paired explains the error. */
  #isExplained(reference: number, { tested, fit }: Candidate): boolean {
    const sources = nearest(this.#tested, tested, 'parents', (id) => this.#byTested.has(id));
    const before = Math.max(0, ...[...sources].map((id) => this.#byTested.get(id)!.fit.error));
    const { limit } = explainedBetween(this.#tested, tested, (id) => this.#byTested.has(id), before);
    if (fit.error > limit) return false;
    return fit.error <= 1e-6 || this.#signature(reference).size === 0 || sources.size > 0;
  }

  /** What is paired already and went into the one must have gone into the other. */
  #isConsistent(reference: number, tested: number): boolean {
    if (!this.#reference.hasEdges || !this.#tested.hasEdges) return true;
    const own = this.#ancestorsOf(tested);
    const goesIn = [...this.#signature(reference)].every((partner) => partner === tested || own.has(partner));
    if (!goesIn) return false;
    // And what went into the one was not made from the other.
    return [...this.#signatureOfTested(tested)].every(
      (id) => !this.#ancestorsOfReference(this.#byTested.get(id)!.reference).has(reference),
    );
  }

  #ancestorsOf(tested: number): Set<number> {
    return remembered(this.#ancestors, tested, () => ancestors(this.#tested, tested));
  }

  #ancestorsOfReference(reference: number): Set<number> {
    return remembered(this.#before, reference, () => ancestors(this.#reference, reference));
  }

  /** Positions and masks go into one program's values and not into the other's. */
  #isAnchor(reference: number): boolean {
    return this.#byReference.has(reference) && !this.#reference.classes[reference]!.members[0]!.isExact;
  }

  /** Partners of the nearest paired sources. */
  #signature(reference: number): Set<number> {
    const sources = nearest(this.#reference, reference, 'parents', (id) => this.#isAnchor(id));
    return this.#latest(new Set([...sources].map((id) => this.#byReference.get(id)!.tested)));
  }

  /** Without those that went into others of them: one program's edges skip what the other's go through. */
  #latest(ids: Set<number>): Set<number> {
    return new Set(
      [...ids].filter((id) => ![...ids].some((other) => other !== id && this.#ancestorsOf(other).has(id))),
    );
  }

  #signatureOfTested(tested: number): Set<number> {
    const isKnown = (id: number) => {
      const pair = this.#byTested.get(id);
      return pair !== undefined && this.#isAnchor(pair.reference);
    };
    return this.#latest(nearest(this.#tested, tested, 'parents', isKnown));
  }

  /**
   * Pairs values that are each other's nearest, where other blocks show that they belong together. @returns
   * whether any was paired.
   */
  #byOtherBlocks(): boolean {
    const rules = new BlockRules(
      [...this.#byReference.values()].flatMap(({ reference, tested, by }) =>
        by === 'neighbours'
          ? []
          : this.#reference.classes[reference]!.members.flatMap(({ tap }) =>
              this.#tested.classes[tested]!.members.map((other) => [tap.name, other.tap.name] as const),
            ),
      ),
    );
    let isNew = false;
    for (const { id } of this.#reference.classes) {
      const list = this.#candidates[id]!.filter(({ tested }) => !this.#isTaken(tested));
      if (this.#byReference.has(id) || list.length === 0) continue;
      const best = wholeFirst(list);
      if (best.fit.error > MOST_ERROR_IN_BLOCKS) continue;
      if (!rules.joins(this.#reference.classes[id]!, this.#tested.classes[best.tested]!)) continue;
      const chosen = this.#clearest(id, best, CLEAR_IN_BLOCKS, false);
      if (chosen === undefined || !this.#isConsistent(id, best.tested)) continue;
      this.#add({ reference: id, ...best, by: 'elements', next: chosen.next });
      isNew = true;
    }
    return isNew;
  }

  /** Pairs values that stand between the same neighbours in both graphs. @returns whether any was paired. */
  #byNeighbours(): boolean {
    if (!this.#reference.hasEdges || !this.#tested.hasEdges) return false;
    const keyOf = (ids: Set<number>) => [...ids].sort((a, b) => a - b).join();
    const bySources = new Map<string, number[]>();
    for (const { id } of this.#tested.classes) {
      if (this.#isTaken(id)) continue;
      const key = keyOf(this.#signatureOfTested(id));
      if (key !== '') bySources.set(key, [...(bySources.get(key) ?? []), id]);
    }
    const places = new Map<string, { reference: number; candidates: Candidate[] }[]>();
    for (const { id } of this.#reference.classes) {
      // Indices that differ do so by any amount.
      if (this.#byReference.has(id) || this.#reference.classes[id]!.members[0]!.isExact) continue;
      const key = keyOf(this.#signature(id));
      const candidates = (bySources.get(key) ?? []).flatMap(
        (tested) => this.#candidate(id, tested, Number.POSITIVE_INFINITY) ?? [],
      );
      if (candidates.length > 0) places.set(key, [...(places.get(key) ?? []), { reference: id, candidates }]);
    }
    let isNew = false;
    for (const claims of places.values())
      for (const { reference, candidates } of claims) {
        const sorted = candidates.toSorted((a, b) => a.fit.error - b.fit.error);
        const best = wholeFirst(sorted);
        const second = sorted.find((each) => each !== best && !this.#isPartOf(best, each));
        if (this.#isTaken(best.tested)) continue;
        const rival = claims
          .filter((claim) => claim.reference !== reference)
          .flatMap((claim) => claim.candidates.filter(({ tested }) => tested === best.tested))
          .toSorted((a, b) => a.fit.error - b.fit.error)[0];
        const nextError = Math.min(
          second?.fit.error ?? Number.POSITIVE_INFINITY,
          rival?.fit.error ?? Number.POSITIVE_INFINITY,
        );
        if (nextError < CLEAR_AMONG_FEW * best.fit.error) continue;
        this.#add({
          reference,
          ...best,
          by: 'neighbours',
          next: second && { tested: second.tested, reference, error: second.fit.error },
        });
        isNew = true;
      }
    return isNew;
  }

  /** A value that differs, whose every successor agrees, is no partner: it is another way to the same end. */
  #dropUnfounded(): void {
    for (const pair of [...this.#byReference.values()].toReversed()) {
      if (pair.by !== 'neighbours') continue;
      const after = this.#after(pair);
      this.#remove(pair);
      const isFollowed = after.some((next) => !this.#isExplained(next.reference, next));
      const isEnd = this.#reference.classes[pair.reference]!.children.size === 0;
      if (isFollowed || (isEnd && this.#tested.classes[pair.tested]!.children.size === 0)) this.#add(pair);
    }
  }

  /** Pairs that follow the pair in both graphs. */
  #after({ reference, tested }: ClassPair): ClassPair[] {
    const next = nearest(this.#reference, reference, 'children', (id) => this.#byReference.has(id));
    const own = nearest(this.#tested, tested, 'children', (id) => this.#byTested.has(id));
    return [...next].map((id) => this.#byReference.get(id)!).filter((pair) => own.has(pair.tested));
  }

  #remove(pair: ClassPair): void {
    this.#byReference.delete(pair.reference);
    if (this.#byTested.get(pair.tested) === pair) this.#byTested.delete(pair.tested);
  }

  /** Whether a tested value has its partner; one of whose parts have theirs may have its own, too. */
  #isTaken(tested: number): boolean {
    const pair = this.#byTested.get(tested);
    return pair !== undefined && !isCut(pair);
  }

  #add(pair: ClassPair): void {
    this.#byReference.set(pair.reference, pair);
    if (!isCut(pair) || !this.#byTested.has(pair.tested)) this.#byTested.set(pair.tested, pair);
  }
}

function remembered<T>(known: Map<number, T>, id: number, make: () => T): T {
  const value = known.get(id) ?? make();
  known.set(id, value);
  return value;
}
