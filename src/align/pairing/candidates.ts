/** Which values may belong together by their elements. */
import type { Side } from '../classes.js';
import { quantileDistance } from '../distance.js';
import { bestFit, type CallSizes } from '../layouts.js';
import { type Candidate, isCut } from './candidate.js';

/** A reference class that a tested class is a candidate of. */
export interface Claim {
  reference: number;
  error: number;
  /** That of the middle token. */
  middle: number;
  isCut: boolean;
}

/** Quantiles farther apart are not looked at element by element. */
const FAR = 0.5;

/** Candidates of every reference class, the nearest first; and for every tested class whose it is one. */
export class Candidates {
  readonly #reference: Side;
  readonly #tested: Side;
  readonly #sizes: CallSizes;
  readonly #lists: Candidate[][];
  readonly #claims: Claim[][];
  readonly #fits = new Map<string, Candidate | undefined>();

  constructor(reference: Side, tested: Side, sizes: CallSizes) {
    this.#reference = reference;
    this.#tested = tested;
    this.#sizes = sizes;
    this.#claims = tested.classes.map(() => []);
    this.#lists = reference.classes.map(({ id }) => {
      const found = tested.classes.flatMap((other) => this.find(id, other.id, FAR) ?? []);
      for (const each of found)
        this.#claims[each.tested]!.push({
          reference: id,
          error: each.fit.error,
          middle: each.fit.middle,
          isCut: isCut(each),
        });
      return found.sort((a, b) => a.fit.error - b.fit.error);
    });
    for (const list of this.#claims) list.sort((a, b) => a.error - b.error);
  }

  of(reference: number): readonly Candidate[] {
    return this.#lists[reference]!;
  }

  claims(tested: number): readonly Claim[] {
    return this.#claims[tested]!;
  }

  /** @param far distance of quantiles beyond which elements are not compared. */
  find(reference: number, tested: number, far: number): Candidate | undefined {
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
}
